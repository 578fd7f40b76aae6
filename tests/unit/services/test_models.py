"""Models as their rows: deleted at once where nothing was begun."""

from uuid import UUID, uuid4

import pytest

from app.db.session import Database
from app.domain.errors import NotFound, Reason
from app.domain.states import OperationState
from app.services import creates, models, operations
from tests import by_hand


async def test_a_create_that_no_worker_has_looked_at_is_cancelled_and_its_model_gone_at_once(
    database: Database,
) -> None:
    operation = await by_hand.create(database, "acme/model", sealed_token="v1.sealed")
    assert await _delete(database, operation.resource_id) == OperationState.SUCCESS
    async with database.read() as connection:
        (ended,) = (await operations.get_many(connection, [operation.id])).values()
        with pytest.raises(NotFound):
            await models.get(connection, operation.resource_id)
    assert (ended.state, ended.reason) == (OperationState.FAILURE, Reason.INTERRUPTED)
    assert await by_hand.claim(database) is None
    await by_hand.create(database, "acme/model")


async def test_what_a_worker_may_have_written_of_a_model_is_deleted_by_a_worker(database: Database) -> None:
    repaired = await by_hand.ready_model(database, "acme/repaired")
    looked_at = await by_hand.create(database, "acme/looked-at")
    await by_hand.claim(database)
    retried = await by_hand.create(database, "acme/retried")
    claim = await by_hand.claim(database)
    assert claim is not None
    await by_hand.arrive(database, claim, 7)
    await by_hand.give_up(database, claim)
    again = await by_hand.create(database, "acme/retried")
    assert again.resource_id == retried.resource_id
    async with database.begin() as connection:
        await creates.repair(connection, repaired, operation_id=uuid4(), sealed_token=None, deadline=3600)
    for model_id in (looked_at.resource_id, retried.resource_id, repaired):
        assert await _delete(database, model_id) == OperationState.PENDING


async def _delete(database: Database, model_id: UUID) -> OperationState:
    async with database.begin() as connection:
        state: OperationState = (await models.request_delete(connection, model_id, deadline=3600)).state
    return state
