"""Which models are fetched, and which first: pauses, priorities, and that none waits for ever."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update

from app.db.clock import now
from app.db.session import Database
from app.db.tables import OperationRow
from app.domain.errors import Conflict, NotFound, NotYet, Reason
from app.domain.states import ModelStatus
from app.services import downloads, fetches, leases, models, operations, queue
from tests import by_hand

_HOUR = 3600.0


async def test_a_higher_priority_goes_first_and_within_one_the_oldest(database: Database) -> None:
    made = [await by_hand.create(database, f"acme/model-{number}") for number in range(5)]
    await _prioritise(database, made[3], 2)
    await _prioritise(database, made[4], 2)
    await _prioritise(database, made[0], -1)
    granted = [claim.lease.operation_id for _ in made if (claim := await by_hand.claim(database))]
    assert granted == [made[number].id for number in (3, 4, 1, 2, 0)]


async def test_a_level_is_worth_an_hour_of_waiting_so_that_none_waits_for_ever(database: Database) -> None:
    old, new = [await by_hand.create(database, f"acme/{name}") for name in ("old", "new")]
    async with database.begin() as connection:
        since = now(-2.5 * _HOUR)
        await connection.execute(_set(old, created_at=since, due_at=since))
    await _prioritise(database, old, 0)
    for priority, first in ((2, old), (3, new)):
        await _prioritise(database, new, priority)
        claim = await by_hand.claim(database)
        assert claim is not None
        assert claim.lease.operation_id == first.id
        async with database.begin() as connection:
            await leases.put_back(connection, claim.lease)


async def test_a_priority_outlives_what_is_put_back_released_or_tried_again(database: Database) -> None:
    first, urgent = [await by_hand.create(database, f"acme/{name}") for name in ("first", "urgent")]
    await _prioritise(database, urgent, 5)
    for after in (None, 0.0):
        claim = await by_hand.claim(database)
        assert claim is not None
        assert claim.resource_id == urgent.resource_id
        async with database.begin() as connection:
            await leases.put_back(connection, claim.lease, after=after)
    claim = await by_hand.claim(database)
    assert claim is not None
    async with database.begin() as connection:
        await leases.release(connection, claim.lease, after=0.0, message="Busy.")
    failed = await by_hand.fail(database)
    assert failed.resource_id == urgent.resource_id
    again = await by_hand.create(database, "acme/urgent")
    claim = await by_hand.claim(database)
    assert claim is not None
    assert (claim.lease.operation_id, again.resource_id) == (again.id, urgent.resource_id)
    assert (await _model(database, first.resource_id)).priority == 0


async def test_small_slots_take_small_models_only_whatever_the_priority(database: Database) -> None:
    large, small = [await by_hand.create(database, f"acme/{name}") for name in ("large", "small")]
    claim = await by_hand.claim(database)
    assert claim is not None
    async with database.begin() as connection:
        await downloads.measure(connection, claim.lease, large.resource_id, commit="c" * 40, total=1000)
        await leases.put_back(connection, claim.lease)
    await _prioritise(database, large, 100)
    async with database.begin() as connection:
        claim = await leases.claim(connection, "w", lease=30, commands=by_hand.COMMANDS, small=100)
    assert claim is not None
    assert claim.lease.operation_id == small.id


async def test_what_an_older_version_accepted_goes_first_in_its_order(database: Database) -> None:
    new, *old = [await by_hand.create(database, f"acme/model-{number}") for number in range(3)]
    async with database.begin() as connection:
        for one in old:
            await connection.execute(_set(one, place=0))
    granted = [claim.lease.operation_id for _ in range(3) if (claim := await by_hand.claim(database))]
    assert granted == [*(one.id for one in old), new.id]


async def test_a_paused_operation_is_neither_claimed_nor_late_nor_due_until_it_is_resumed(database: Database) -> None:
    operation = await by_hand.create(database, "acme/model")
    await _pause(database, operation)
    await _pause(database, operation)
    async with database.begin() as connection:
        await connection.execute(_set(operation, deadline_at=now(-1)))
        assert await operations.expire(connection, limit=100) == 0
        assert (await operations.census(connection)).due == 0
    assert await by_hand.claim(database) is None
    assert (await _model(database, operation.resource_id)).paused is True
    row = await _row(database, operation)
    assert (row.message, row.reason) == (queue.PAUSED, None)
    await _resume(database, operation)
    async with database.begin() as connection:
        assert await operations.expire(connection, limit=100) == 0
    assert (await _model(database, operation.resource_id)).paused is False
    assert (await _row(database, operation)).message is None
    claim = await by_hand.claim(database)
    assert claim is not None
    assert claim.attempts == 1


async def test_a_worker_is_told_of_a_pause_and_puts_back_what_then_keeps_its_place_and_message(
    database: Database,
) -> None:
    first, second = [await by_hand.create(database, f"acme/{name}") for name in ("first", "second")]
    claim = await by_hand.claim(database)
    assert claim is not None
    await by_hand.arrive(database, claim, 40)
    await _pause(database, first)
    with pytest.raises(NotYet) as told:
        async with database.read() as connection:
            await leases.confirm(connection, claim.lease)
    assert (told.value.message, told.value.after) == (queue.PAUSED, None)
    async with database.begin() as connection:
        await leases.put_back(connection, claim.lease, message="Something else.")
    model = await _model(database, first.resource_id)
    assert (model.status, model.downloaded, model.paused) == (ModelStatus.DOWNLOADING, 40, True)
    assert (await _row(database, first)).message == queue.PAUSED
    await _resume(database, first)
    claim = await by_hand.claim(database)
    assert claim is not None
    assert (claim.lease.operation_id, claim.attempts) == (first.id, 1)
    assert (await by_hand.carry_out(database)).lease.operation_id == second.id


async def test_nobody_waits_for_what_a_paused_download_was_to_fetch(database: Database) -> None:
    owner, waiter = [await by_hand.create(database, f"acme/{name}") for name in ("owner", "waiter")]
    claims = [await by_hand.claim(database), await by_hand.claim(database)]
    assert all(claims)
    content = "a" * 64
    async with database.begin() as connection:
        await fetches.claim(connection, claims[0].lease, [(content, "model.safetensors")])  # type: ignore[union-attr]
        await fetches.wait_for(connection, waiter.id, [(content, 7)])
        await leases.put_back(connection, claims[1].lease)  # type: ignore[union-attr]
    assert await by_hand.claim(database) is None
    await _pause(database, owner)
    again = await by_hand.claim(database)
    assert again is not None
    assert again.lease.operation_id == waiter.id
    async with database.begin() as connection:
        await fetches.claim(connection, again.lease, [(content, "model.safetensors")])
        assert await fetches.by_others(connection, waiter.id, [content]) == []
        # Nor is anything left to a paused download.
        assert await fetches.wanted(connection, waiter.id) == []


async def test_a_pause_that_comes_too_late_changes_nothing(database: Database) -> None:
    operation = await by_hand.create(database, "acme/model")
    claim = await by_hand.claim(database)
    assert claim is not None
    await _pause(database, operation)
    await by_hand.arrive(database, claim, 7)
    async with database.begin() as connection:
        await downloads.publish(connection, claim.lease, claim.resource_id, "/models/it", by_hand.FILES)
    model = await _model(database, operation.resource_id)
    assert (model.status, model.paused) == (ModelStatus.READY, False)


async def test_only_what_is_being_fetched_can_be_paused(database: Database) -> None:
    ready = await by_hand.ready_model(database, "acme/ready")
    failed = await by_hand.create(database, "acme/failed")
    await by_hand.fail(database, Reason.FORBIDDEN)
    for model_id in (ready, failed.resource_id):
        async with database.begin() as connection:
            await queue.lock(connection, model_id)
            with pytest.raises(Conflict, match="Nothing fetches"):
                await queue.pause(connection, model_id)
            await queue.resume(connection, model_id, deadline=60)
            await queue.prioritise(connection, model_id, 3)
    assert (await _model(database, ready)).priority == 3
    async with database.begin() as connection:
        with pytest.raises(NotFound):
            await queue.lock(connection, uuid4())
        await models.request_delete(connection, ready, deadline=60)
        with pytest.raises(Conflict, match="being deleted"):
            await queue.lock(connection, ready)


async def test_a_paused_model_is_deleted_like_any_other(database: Database) -> None:
    untouched, begun = [await by_hand.create(database, f"acme/{name}") for name in ("untouched", "begun")]
    await _pause(database, untouched)
    claim = await by_hand.claim(database)
    assert claim is not None
    await by_hand.arrive(database, claim, 40)
    await _pause(database, begun)
    async with database.begin() as connection:
        await leases.put_back(connection, claim.lease)
        gone = await models.request_delete(connection, untouched.resource_id, deadline=60)
        deletion = await models.request_delete(connection, begun.resource_id, deadline=60)
    assert gone.state == "success"
    assert (await by_hand.carry_out(database)).lease.operation_id == deletion.id
    async with database.read() as connection:
        assert await models.list_all(connection) == []


def _set(operation: Any, **values: Any) -> Any:
    return update(OperationRow).where(OperationRow.id == operation.id).values(**values)


async def _prioritise(database: Database, operation: Any, priority: int) -> None:
    async with database.begin() as connection:
        await queue.lock(connection, operation.resource_id)
        await queue.prioritise(connection, operation.resource_id, priority)


async def _pause(database: Database, operation: Any) -> None:
    async with database.begin() as connection:
        await queue.lock(connection, operation.resource_id)
        await queue.pause(connection, operation.resource_id)


async def _resume(database: Database, operation: Any) -> None:
    async with database.begin() as connection:
        await queue.lock(connection, operation.resource_id)
        await queue.resume(connection, operation.resource_id, deadline=60)


async def _model(database: Database, model_id: UUID) -> Any:
    async with database.read() as connection:
        return await models.get(connection, model_id)


async def _row(database: Database, operation: Any) -> Any:
    columns: tuple[Any, ...] = (OperationRow.message, OperationRow.reason)
    async with database.read() as connection:
        return (await connection.execute(select(*columns).where(OperationRow.id == operation.id))).one()
