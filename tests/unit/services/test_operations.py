"""Operations: one at a time on a model, ended once, timed out, forgotten; and what ends with them."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError

from app.db.clock import now
from app.db.session import Database
from app.db.tables import ModelRow, OperationRow
from app.db.transitions import LeaseLost, end_operation, move_model
from app.domain.commands import Command
from app.domain.errors import Conflict, ModelInUse, NotReady, Reason
from app.domain.states import COMES_FROM, ModelStatus, OperationState
from app.services import deployments, leases, models, operations
from tests import by_hand


async def test_a_model_has_one_operation_at_a_time(database: Database) -> None:
    operation = await by_hand.create(database, "acme/model")
    with pytest.raises(IntegrityError):
        async with database.begin() as connection:
            await operations.begin(connection, Command.DELETE_MODEL, operation.resource_id, "acme/model", deadline=3600)


async def test_a_create_that_conflicts_stores_nothing(database: Database) -> None:
    await by_hand.create(database, "acme/model")
    with pytest.raises(Conflict):
        await by_hand.create(database, "acme/model")
    assert await _count(database) == 1


async def test_the_token_is_gone_when_its_operation_has_ended_however_it_did(database: Database) -> None:
    for number, end in enumerate((by_hand.carry_out, by_hand.fail)):
        await by_hand.create(database, f"acme/model-{number}", sealed_token="v1.sealed")
        await end(database)
    cancelled = await by_hand.create(database, "acme/cancelled", sealed_token="v1.sealed")
    async with database.begin() as connection:
        await models.request_delete(connection, cancelled.resource_id, deadline=3600)
    await by_hand.create(database, "acme/late", sealed_token="v1.sealed", deadline=-1.0)
    async with database.begin() as connection:
        assert await operations.expire(connection, limit=100) == 1
    async with database.read() as connection:
        kept = select(func.count()).where(OperationRow.sealed_token.is_not(None))
        assert (await connection.execute(kept)).scalar_one() == 0


async def test_an_operation_past_its_deadline_times_out_under_its_worker(database: Database) -> None:
    operation = await by_hand.create(database, "acme/model", deadline=3600.0)
    other = await by_hand.create(database, "acme/other", deadline=3600.0)
    claim = await by_hand.claim(database)
    assert claim is not None
    async with database.begin() as connection:
        assert await operations.expire(connection, limit=100) == 0
        late = update(OperationRow).where(OperationRow.id == operation.id).values(deadline_at=now(-1.0))
        await connection.execute(late)
    async with database.begin() as connection:
        assert await operations.expire(connection, limit=100) == 1
    async with database.read() as connection:
        found = await operations.get_many(connection, [operation.id, other.id])
        model = await models.get(connection, operation.resource_id)
    ended, untouched = found[operation.id], found[other.id]
    assert (ended.state, ended.reason) == (OperationState.TIMEOUT, Reason.INTERRUPTED)
    assert "Retry" in (ended.message or "")
    assert model.status == ModelStatus.ERROR
    assert untouched.state == OperationState.PENDING
    with pytest.raises(LeaseLost):
        async with database.begin() as connection:
            await leases.renew(connection, claim.lease, seconds=30, reached=0)
    async with database.begin() as connection:
        assert await operations.expire(connection, limit=100) == 0


async def test_a_model_that_timed_out_can_be_tried_again(database: Database) -> None:
    operation = await by_hand.create(database, "acme/model", deadline=-1.0)
    async with database.begin() as connection:
        await operations.expire(connection, limit=100)
    again = await by_hand.create(database, "acme/model")
    assert again.resource_id == operation.resource_id


async def test_a_model_whose_delete_timed_out_takes_no_deployment(database: Database) -> None:
    model_id = await by_hand.ready_model(database, "acme/model")
    async with database.begin() as connection:
        await models.request_delete(connection, model_id, deadline=-1.0)
    async with database.begin() as connection:
        assert await operations.expire(connection, limit=100) == 1
    async with database.read() as connection:
        assert (await models.get(connection, model_id)).status == ModelStatus.ERROR
    # Half of its files may be gone, so it takes no deployment; but it can be deleted, or fetched again.
    with pytest.raises(NotReady):
        async with database.begin() as connection:
            await deployments.create(connection, model_id=model_id, model_name=None, name="d", **_NOTHING)
    async with database.begin() as connection:
        await models.request_delete(connection, model_id, deadline=3600)


async def test_ended_operations_are_forgotten_after_a_while_and_pending_ones_never(database: Database) -> None:
    old, recent, pending = [(await by_hand.create(database, f"acme/model-{number}")).id for number in range(3)]
    for _ in (old, recent):
        await by_hand.carry_out(database)
    async with database.begin() as connection:
        for operation_id, age in ((old, 100.0), (recent, 50.0)):
            aged = update(OperationRow).where(OperationRow.id == operation_id)
            await connection.execute(aged.values(ended_at=now(-age), created_at=now(-age)))
        await connection.execute(update(OperationRow).where(OperationRow.id == pending).values(created_at=now(-1000.0)))
        assert await operations.purge(connection, retention=75.0, limit=100_000) == 1
    async with database.read() as connection:
        assert (await operations.get_many(connection, [old, recent, pending])).keys() == {recent, pending}


async def test_a_model_in_use_is_neither_deleted_nor_marked(database: Database) -> None:
    model_id = await by_hand.ready_model(database, "acme/model")
    async with database.begin() as connection:
        made = await deployments.create(connection, model_id=model_id, model_name=None, name="d", **_NOTHING)
    with pytest.raises(ModelInUse) as refused:
        async with database.begin() as connection:
            await models.request_delete(connection, model_id, deadline=3600)
    assert refused.value.deployments == (made.resource_id,)
    with pytest.raises(IntegrityError):
        async with database.begin() as connection:
            await models.forget(connection, model_id)
    async with database.begin() as connection:
        await deployments.create(connection, model_id=model_id, model_name=None, name="another", **_NOTHING)


@pytest.mark.parametrize("to", list(ModelStatus))
@pytest.mark.parametrize("come_from", list(ModelStatus))
async def test_a_model_goes_only_where_the_table_lets_it(
    database: Database, come_from: ModelStatus, to: ModelStatus
) -> None:
    model_id = await _model_in(database, come_from)
    async with database.begin() as connection:
        moved = await move_model(connection, model_id, to)
    assert moved == (come_from in COMES_FROM[to])
    async with database.read() as connection:
        assert (await models.get(connection, model_id)).status == (to if moved else come_from)


_NOTHING: dict[str, Any] = dict.fromkeys(
    ("gpu_type", "gpu_count", "replicas", "deployment_url", "inference_engine_version")
) | {"inference_engine_parameters": []}


async def _model_in(database: Database, status: ModelStatus) -> UUID:
    model_id: UUID = (await by_hand.create(database, "acme/model")).resource_id
    way = {
        ModelStatus.CREATING: [],
        ModelStatus.DOWNLOADING: [ModelStatus.DOWNLOADING],
        ModelStatus.READY: [ModelStatus.DOWNLOADING, ModelStatus.READY],
        ModelStatus.ERROR: [ModelStatus.ERROR],
    }[status]
    async with database.begin() as connection:
        for step in way:
            assert await move_model(connection, model_id, step)
    return model_id


async def test_words_that_no_encoding_has_are_stored_escaped(database: Database) -> None:
    """A file's name out of a repository's JSON, in the message that an operation ends with."""
    odd = "no file fits; there is a\udc80, b\0c and é"
    operation = await by_hand.create(database, "acme/model")
    async with database.begin() as connection:
        claim = await leases.claim(connection, "test", lease=30, commands=(Command.CREATE_MODEL,))
        assert claim
        assert await move_model(connection, claim.resource_id, ModelStatus.ERROR, lease=claim.lease, message=odd)
        await end_operation(connection, claim.lease, OperationState.FAILURE, reason=Reason.INCORRECT, message=odd)
    async with database.read() as connection:
        told = (await operations.get_many(connection, [operation.id]))[operation.id].message
        model = await models.get(connection, operation.resource_id)
    assert told == model.message == r"no file fits; there is a\udc80, b\x00c and é"


async def test_a_model_that_failed_before_a_byte_came_is_forgotten_after_a_while(database: Database) -> None:
    async def model_ids() -> set[UUID]:
        async with database.read() as connection:
            return {row.id for row in await models.list_all(connection)}

    async def dismiss(retention: float) -> int:
        async with database.begin() as connection:
            return await models.dismiss(connection, retention=retention, limit=100)

    ready = (await by_hand.create(database, "acme/ready")).resource_id
    await by_hand.carry_out(database)
    empty = (await by_hand.create(database, "acme/misspelt")).resource_id
    await by_hand.fail(database)
    partial = (await by_hand.create(database, "acme/partial")).resource_id
    await by_hand.fail(database)
    retried = (await by_hand.create(database, "acme/retried")).resource_id
    await by_hand.fail(database)
    await by_hand.create(database, "acme/retried")
    async with database.begin() as connection:
        await connection.execute(update(ModelRow).where(ModelRow.id == partial).values(downloaded=7))
    assert await dismiss(3600) == 0
    assert await dismiss(-1) == 1
    assert await model_ids() == {ready, partial, retried}
    assert empty not in await model_ids()
    await by_hand.create(database, "acme/misspelt")


async def _count(database: Database) -> int:
    async with database.read() as connection:
        return int((await connection.execute(select(func.count()).select_from(OperationRow))).scalar_one())
