"""Leases: granted to one at a time, in the order of the queue, proven by their fence, counted and given back."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update

from app.db.clock import now
from app.db.session import Database
from app.db.tables import ModelRow, OperationRow
from app.db.transitions import Lease, LeaseLost, end_operation, move_model
from app.domain.commands import Command
from app.domain.states import ModelStatus, OperationState
from app.services import downloads, history, leases, models, operations, workers
from tests import by_hand
from tests.processes import BUSY


async def test_the_longest_due_is_granted_first(database: Database) -> None:
    made = [(await by_hand.create(database, f"acme/model-{number}")).id for number in range(5)]
    granted = [claim.lease.operation_id for _ in made if (claim := await by_hand.claim(database))]
    assert granted == made
    assert await by_hand.claim(database) is None


async def test_a_claim_tells_what_there_is_to_do(database: Database) -> None:
    operation = await by_hand.create(database, "acme/model", sealed_token="v1.sealed")
    claim = await by_hand.claim(database)
    assert claim is not None
    assert claim.command is Command.CREATE_MODEL
    assert (claim.resource_id, claim.attempts, claim.lease.fence) == (operation.resource_id, 1, 1)
    assert claim.sealed_token == "v1.sealed"


async def test_only_commands_that_are_asked_for_are_granted(database: Database) -> None:
    await by_hand.create(database, "acme/model")
    async with database.begin() as connection:
        assert await leases.claim(connection, "w", lease=30, commands=[Command.DELETE_MODEL]) is None


async def test_whoever_looks_is_told_that_something_is_due_while_a_claim_would_be_granted(database: Database) -> None:
    async def are_due(**changes: Any) -> bool:
        async with database.begin() as connection:
            if changes:
                await connection.execute(update(OperationRow).values(**changes))
        async with database.read() as connection:
            return await leases.are_due(connection)

    assert not await are_due()
    await by_hand.create(database, "acme/model")
    assert await are_due()
    assert not await are_due(paused=True)
    assert await are_due(paused=False)
    assert await by_hand.claim(database) is not None
    assert not await are_due()
    # Its lease runs out.
    assert await are_due(due_at=now(-1.0))
    await by_hand.carry_out(database)
    assert not await are_due()


async def test_many_who_claim_at_once_never_get_the_same(database: Database) -> None:
    made = {(await by_hand.create(database, f"acme/model-{number}")).id for number in range(40)}

    async def worker(name: str) -> list[UUID]:
        mine = []
        while claim := await by_hand.claim(database, name):
            mine.append(claim.lease.operation_id)
        return mine

    granted = await asyncio.gather(*[worker(f"worker-{number}") for number in range(8)])
    everything = [operation_id for mine in granted for operation_id in mine]
    assert len(everything) == len(made)
    assert set(everything) == made


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_claim_does_not_wait_for_one_that_is_not_committed(database: Database) -> None:
    first, second = [(await by_hand.create(database, f"acme/model-{number}")).id for number in range(2)]
    async with database.begin() as connection:
        held = await leases.claim(connection, "slow", lease=30, commands=by_hand.COMMANDS)
        async with asyncio.timeout(BUSY):
            other = await by_hand.claim(database, "quick")
    assert held is not None
    assert other is not None
    assert (held.lease.operation_id, other.lease.operation_id) == (first, second)


async def test_a_lease_that_ran_out_is_granted_again_and_the_former_holder_can_write_nothing(
    database: Database,
) -> None:
    await by_hand.create(database, "acme/model")
    former = await by_hand.claim(database, "former")
    assert former is not None
    assert await by_hand.claim(database, "too early") is None
    await _due(database, former.lease.operation_id)
    claim = await by_hand.claim(database, "next")
    assert claim is not None
    assert claim.lease == Lease(former.lease.operation_id, former.lease.fence + 1)
    assert claim.attempts == 2

    before = await _everything(database)
    async with database.begin() as connection:
        assert not await move_model(connection, former.resource_id, ModelStatus.DOWNLOADING, lease=former.lease)
    for write in (
        lambda connection: leases.renew(connection, former.lease, seconds=30, reached=9),
        lambda connection: downloads.report(
            connection, former.lease, former.resource_id, downloaded=9, rate=9, files=0
        ),
        lambda connection: leases.confirm(connection, former.lease),
        lambda connection: leases.release(connection, former.lease, after=0, message="m"),
        lambda connection: leases.put_back(connection, former.lease),
        lambda connection: end_operation(connection, former.lease, OperationState.SUCCESS),
    ):
        with pytest.raises(LeaseLost):
            async with database.begin() as connection:
                await write(connection)
    assert await _everything(database) == before
    async with database.begin() as connection:
        await leases.confirm(connection, claim.lease)


async def test_a_renewal_keeps_others_out(database: Database) -> None:
    await by_hand.create(database, "acme/model")
    claim = await by_hand.claim(database)
    assert claim is not None
    await _due(database, claim.lease.operation_id)
    async with database.begin() as connection:
        await leases.renew(connection, claim.lease, seconds=30, reached=0)
    assert await by_hand.claim(database, "other") is None


async def test_progress_makes_an_attempt_the_first_again(database: Database) -> None:
    await by_hand.create(database, "acme/model")
    for attempt in (1, 2, 3):
        claim = await by_hand.claim(database)
        assert claim is not None
        assert claim.attempts == attempt
        await _due(database, claim.lease.operation_id)
    claim = await by_hand.claim(database)
    assert claim is not None
    async with database.begin() as connection:
        for reached, attempts in ((0, 4), (100, 1), (100, 1), (50, 1)):
            assert await leases.renew(connection, claim.lease, seconds=30, reached=reached) == attempts
    await _due(database, claim.lease.operation_id)
    again = await by_hand.claim(database)
    assert again is not None
    assert again.attempts == 2
    async with database.begin() as connection:
        # As far as the attempt before, and no further, is no progress.
        assert await leases.renew(connection, again.lease, seconds=30, reached=100) == 2


async def test_what_is_released_is_due_after_its_wait_and_says_why(database: Database) -> None:
    operation = await by_hand.create(database, "acme/model")
    claim = await by_hand.claim(database)
    assert claim is not None
    async with database.begin() as connection:
        await leases.release(connection, claim.lease, after=3600, message="The Hub is busy.")
    assert await by_hand.claim(database) is None
    row = await _operation(database, operation.id)
    assert (row.state, row.message, row.lease_owner) == (OperationState.PENDING, "The Hub is busy.", None)
    with pytest.raises(LeaseLost):
        async with database.begin() as connection:
            await leases.confirm(connection, Lease(operation.id, claim.lease.fence + 1))
    await _due(database, operation.id)
    again = await by_hand.claim(database)
    assert again is not None
    assert again.attempts == 2


async def test_what_is_handed_over_is_due_at_once_and_does_not_count(database: Database) -> None:
    await by_hand.create(database, "acme/model")
    for _ in range(10):
        claim = await by_hand.claim(database)
        assert claim is not None
        assert claim.attempts == 1
        async with database.begin() as connection:
            await leases.put_back(connection, claim.lease)


async def test_what_is_put_back_keeps_its_place(database: Database) -> None:
    first, second = [(await by_hand.create(database, f"acme/model-{number}")).id for number in range(2)]
    for _ in range(2):
        claim = await by_hand.claim(database)
        assert claim is not None
        assert claim.lease.operation_id == first
        async with database.begin() as connection:
            await leases.put_back(connection, claim.lease, message="It waits.")
    assert (await _operation(database, first)).message == "It waits."
    await by_hand.claim(database)
    other = await by_hand.claim(database)
    assert other is not None
    assert other.lease.operation_id == second


async def test_a_small_slot_is_for_what_is_small_or_of_unknown_size(database: Database) -> None:
    async def claim(commands: tuple[Command, ...], small: int | None = None) -> UUID | None:
        async with database.begin() as connection:
            claim = await leases.claim(connection, "w", lease=30, commands=commands, small=small)
        return claim.resource_id if claim else None

    large, small, unknown = [
        (await by_hand.create(database, f"acme/model-{number}")).resource_id for number in range(3)
    ]
    for model_id, total in ((large, 101), (small, 100)):
        async with database.begin() as connection:
            await connection.execute(update(ModelRow).where(ModelRow.id == model_id).values(total=total))
    create = (Command.CREATE_MODEL,)
    assert [await claim(create, small=100) for _ in range(3)] == [small, unknown, None]
    assert await claim((Command.DELETE_MODEL,)) is None
    assert [await claim(create) for _ in range(2)] == [large, None]


async def test_a_lease_from_before_the_clock_was_put_back_is_none(database: Database) -> None:
    """Granted two hours later than it is now, or long ago and renewed then; likewise what was put off or made then."""
    operation = await by_hand.create(database, "acme/model")
    two_hours = 7200.0
    for granted, renewed in ((two_hours, two_hours), (-60.0, two_hours), (two_hours, None)):
        dead = await by_hand.claim(database, "dead")
        assert dead is not None
        assert await by_hand.claim(database) is None
        await _set(
            database,
            operation.id,
            due_at=now(two_hours + 30),
            leased_at=now(granted),
            renewed_at=None if renewed is None else now(renewed),
        )
        async with database.read() as connection:
            assert await workers.held(connection) == []
            assert (await operations.census(connection)).due == 1
            assert [row.later for row in await history.page(connection, limit=9)] == [False]
    claim = await by_hand.claim(database)
    assert claim is not None
    async with database.begin() as connection:
        await leases.release(connection, claim.lease, after=60, message="m")
    assert await by_hand.claim(database) is None
    await _set(database, operation.id, due_at=now(two_hours), renewed_at=now(two_hours))
    claim = await by_hand.claim(database)
    assert claim is not None
    await _set(database, operation.id, created_at=now(two_hours))
    async with database.begin() as connection:
        await leases.put_back(connection, claim.lease)
    assert await by_hand.claim(database) is not None
    fresh = await by_hand.create(database, "acme/another")
    await _set(database, fresh.id, due_at=now(two_hours), created_at=now(two_hours))
    assert await by_hand.claim(database) is not None


async def test_a_delete_does_not_wait_for_a_lease_from_before_the_clock_was_put_back(database: Database) -> None:
    operation = await by_hand.create(database, "acme/model")
    assert await by_hand.claim(database, "dead") is not None
    async with database.begin() as connection:
        await models.request_delete(connection, operation.resource_id, deadline=3600)
    assert await by_hand.claim(database) is None
    await _set(database, operation.id, due_at=now(7200), leased_at=now(7200), renewed_at=now(7200))
    claim = await by_hand.claim(database)
    assert claim is not None
    assert claim.command is Command.DELETE_MODEL


async def test_the_leases_of_dead_workers_are_given_up_and_no_others(database: Database) -> None:
    for owner in ("host_1:7", "host_1:8", "hostX1:7", "host_1"):
        await by_hand.create(database, f"acme/{owner.replace(':', '-')}")
        assert await by_hand.claim(database, owner) is not None
    async with database.begin() as connection:
        assert await leases.owners(connection, "host_1") == {"host_1:7", "host_1:8"}
        assert await leases.give_up(connection, ["host_1:7"]) == 1
    again = await by_hand.claim(database)
    assert again is not None
    assert again.attempts == 2
    assert await by_hand.claim(database) is None


async def test_a_delete_waits_until_who_fetches_the_model_has_let_go(database: Database) -> None:
    operation = await by_hand.create(database, "acme/model")
    fetching = await by_hand.claim(database, "fetching")
    assert fetching is not None
    async with database.begin() as connection:
        deletion = await models.request_delete(connection, operation.resource_id, deadline=3600)
    with pytest.raises(LeaseLost):
        async with database.begin() as connection:
            await leases.renew(connection, fetching.lease, seconds=30, reached=0)
    assert await by_hand.claim(database, "deleting") is None
    async with database.begin() as connection:
        await leases.let_go(connection, fetching.lease)
    claim = await by_hand.claim(database, "deleting")
    assert claim is not None
    assert claim.lease.operation_id == deletion.id


async def test_a_delete_goes_on_once_the_lease_of_a_dead_worker_has_run_out(database: Database) -> None:
    operation = await by_hand.create(database, "acme/model")
    assert await by_hand.claim(database, "dead") is not None
    async with database.begin() as connection:
        await models.request_delete(connection, operation.resource_id, deadline=3600)
    assert await by_hand.claim(database) is None
    await _due(database, operation.id)
    claim = await by_hand.claim(database)
    assert claim is not None
    assert claim.command is Command.DELETE_MODEL


async def _due(database: Database, operation_id: UUID) -> None:
    """What waiting would bring about."""
    await _set(database, operation_id, due_at=now(-0.001))


async def _set(database: Database, operation_id: UUID, **values: Any) -> None:
    async with database.begin() as connection:
        await connection.execute(update(OperationRow).where(OperationRow.id == operation_id).values(**values))


async def _operation(database: Database, operation_id: UUID) -> Any:
    async with database.read() as connection:
        table = OperationRow.__table__
        return (await connection.execute(select(table).where(OperationRow.id == operation_id))).one()


async def _everything(database: Database) -> list[Any]:
    async with database.read() as connection:
        rows = [(await connection.execute(select(kind.__table__))).all() for kind in (ModelRow, OperationRow)]
    return [tuple(row) for some in rows for row in some]
