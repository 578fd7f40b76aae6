"""Contents claimed by one download at a time, and operations that wait until these have arrived."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import func, select, text, update

from app.db.clock import now
from app.db.session import Database
from app.db.tables import FetchRow, OperationRow, WaitRow
from app.db.transitions import LeaseLost, end_operation
from app.domain.states import OperationState
from app.services import downloads, fetches, leases, models, operations
from app.services.leases import Claim
from tests import by_hand
from tests.by_hand import plain

X, Y, Z = "a" * 64, "b" * 64, "c" * 64


async def test_a_content_is_claimed_by_one_and_who_waits_for_it_is_claimed_once_it_has_arrived(
    database: Database,
) -> None:
    owner, waiter = await _begin(database, "acme/owner"), await _begin(database, "acme/waiter")
    assert await _claim(database, owner, X, Y) == {X, Y}
    assert await _claim(database, waiter, X, Y, Z) == {Z}
    await _wait(database, waiter, X)
    assert await by_hand.claim(database) is None
    assert await _due(database) == 0
    await _arrive(database, owner, Y)
    assert await by_hand.claim(database) is None
    await _arrive(database, owner, X)
    assert await _due(database) == 1
    again = await by_hand.claim(database)
    assert again is not None
    assert (again.lease.operation_id, again.attempts) == (waiter.lease.operation_id, 1)


@pytest.mark.parametrize("end", ["success", "failure", "delete", "timeout", "clock", "lapse", "long wait"])
async def test_a_content_whose_download_is_over_is_claimed_by_who_waited(database: Database, end: str) -> None:
    owner, waiter = await _begin(database, "acme/owner"), await _begin(database, "acme/waiter")
    await _claim(database, owner, X)
    await _wait(database, waiter, X)
    assert await by_hand.claim(database) is None
    async with database.begin() as connection:
        match end:
            case "success":
                await end_operation(connection, owner.lease, OperationState.SUCCESS)
            case "delete":
                await models.request_delete(connection, owner.resource_id, deadline=60)
            case "timeout":
                await connection.execute(_set(owner, deadline_at=now(-1)))
                assert await operations.expire(connection, limit=100) == 1
            case "clock":  # it was put back
                await connection.execute(_set(owner, renewed_at=now(7200), due_at=now(7230)))
            case "lapse":
                await connection.execute(_set(owner, due_at=now(-60)))
                await connection.execute(_set(waiter, due_at=now(-61)))  # first in the queue
            case "long wait":
                await leases.release(connection, owner.lease, after=300, message="Busy.")
    if end == "failure":
        await by_hand.give_up(database, owner)
    claims = []
    while claim := await by_hand.claim(database):
        claims.append(claim)
    (again,) = [claim for claim in claims if claim.lease.operation_id == waiter.lease.operation_id]
    if end not in {"clock", "lapse"}:  # these go on at the same moment
        assert await _claim(database, again, X) == {X}


@pytest.mark.parametrize("interruption", ["lapse", "backoff"])
async def test_a_download_that_goes_on_in_moments_keeps_its_contents(database: Database, interruption: str) -> None:
    owner, waiter = await _begin(database, "acme/owner"), await _begin(database, "acme/waiter")
    await _claim(database, owner, X)
    await _wait(database, waiter, X)
    async with database.begin() as connection:
        if interruption == "lapse":
            await connection.execute(_set(owner, due_at=now(-1)))
        else:
            await leases.release(connection, owner.lease, after=5, message="Busy.")
            await connection.execute(_set(owner, due_at=now(-1)))
    again = await by_hand.claim(database)
    assert again is not None
    assert again.lease.operation_id == owner.lease.operation_id
    assert await by_hand.claim(database) is None
    assert await _claim(database, again, X) == {X}


async def test_each_content_is_judged_by_its_own_download(database: Database) -> None:
    dead, alive, third = [await _begin(database, f"acme/{name}") for name in ("dead", "alive", "third")]
    await _claim(database, dead, X)
    await _claim(database, alive, Y)
    async with database.begin() as connection:
        await connection.execute(_set(dead, due_at=now(-60)))
    assert await _claim(database, third, X, Y) == {X}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_who_meets_a_claim_that_is_not_committed_yet_does_not_take_it_over(database: Database) -> None:
    first, second = await _begin(database, "acme/first"), await _begin(database, "acme/second")
    async with database.begin() as connection:
        await fetches.claim(connection, first.lease, [(X, "x.bin")])
        claiming = asyncio.create_task(_claim(database, second, X))
        await _until_one_waits(database)
    assert await claiming == set()


async def test_an_attempt_that_begins_anew_is_waited_for_anew(database: Database) -> None:
    owner, waiter = await _begin(database, "acme/owner"), await _begin(database, "acme/waiter")
    await _claim(database, owner, X)
    await _arrive(database, owner, X)
    await _claim(database, owner, X)
    await _wait(database, waiter, X)
    assert await by_hand.claim(database) is None


async def test_two_that_each_want_what_the_other_fetches_do_not_wait_for_each_other(database: Database) -> None:
    one, two = await _begin(database, "acme/one"), await _begin(database, "acme/two")
    assert await _claim(database, one, X) == {X}
    assert await _claim(database, two, X, Y) == {Y}
    assert await _claim(database, one, X, Y) == {X}
    await _arrive(database, one, X)
    await _wait(database, one, Y)
    assert await by_hand.claim(database) is None
    # By then it has fetched what it claimed.
    await _arrive(database, two, Y)
    await _wait(database, two, X)
    assert {claim.lease.operation_id for _ in range(2) if (claim := await by_hand.claim(database))} == {
        one.lease.operation_id,
        two.lease.operation_id,
    }


async def test_many_that_claim_the_same_at_once_share_it_out(database: Database) -> None:
    checksums = [f"{number:064x}" for number in range(300)]
    claims = [await _begin(database, f"acme/model-{number}") for number in range(6)]

    async def work(claim: Claim, wanted: list[str]) -> None:
        for _ in range(5):
            await _claim(database, claim, *wanted)
            await _arrive(database, claim, *wanted)
        async with database.begin() as connection:
            await end_operation(connection, claim.lease, OperationState.SUCCESS)

    first = await asyncio.gather(*[_claim(database, claim, *checksums) for claim in claims])
    assert sorted(sha256 for mine in first for sha256 in mine) == checksums
    await asyncio.gather(*[work(claim, checksums[:: 1 if one % 2 else -1]) for one, claim in enumerate(claims)])
    assert await _rows(database) == (0, 0)


async def test_the_rows_go_with_the_operation_and_who_lost_it_claims_nothing(database: Database) -> None:
    claim = await _begin(database, "acme/model")
    await _claim(database, claim, X)
    await _wait(database, claim, Y)
    assert await _rows(database) == (1, 1)
    await by_hand.give_up(database, claim)
    assert await _rows(database) == (0, 0)
    with pytest.raises(LeaseLost):
        await _claim(database, claim, X)
    assert await _rows(database) == (0, 0)


async def test_a_content_that_is_passed_on_is_claimed_by_who_waited_and_waited_for_by_who_had_it(
    database: Database,
) -> None:
    owner, waiter, busy = [await _begin(database, f"acme/{name}") for name in ("owner", "waiter", "busy")]
    await _claim(database, owner, X, Y, Z)
    await _arrive(database, owner, Z)
    await _wait(database, waiter, X, Y, Z)
    async with database.begin() as connection:
        await fetches.wait_for(connection, busy.lease.operation_id, [(X, 7)])
    async with database.read() as connection:
        wanted = await fetches.wanted(connection, owner.lease.operation_id)
    assert sorted(wanted) == [(waiter.lease.operation_id, X, 7), (waiter.lease.operation_id, Y, 7)]
    for _ in range(2):  # it may be said twice
        async with database.begin() as connection:
            await fetches.pass_on(connection, owner.lease, [(X, 7), (Y, 7)])
    again = await by_hand.claim(database)
    assert again is not None
    assert await _claim(database, again, X, Y, Z) == {X, Y}
    async with database.read() as connection:
        assert await fetches.awaited(connection, owner.lease.operation_id) == {X, Y}
        assert await fetches.wanted(connection, owner.lease.operation_id) == []


async def test_room_for_what_is_awaited_is_needed_once(database: Database) -> None:
    owner, waiter, third = [await _begin(database, f"acme/{name}") for name in ("owner", "waiter", "third")]
    for claim in (owner, waiter):
        await by_hand.arrive(database, claim, 10)  # of 100 bytes
    async with database.begin() as connection:
        await fetches.wait_for(connection, waiter.lease.operation_id, [(X, 50), (Y, 20)])
    async with database.begin() as connection:
        both = await downloads.under_way(connection, without=third.resource_id)
        assert both == {owner.resource_id: (100, 10), waiter.resource_id: (30, 10)}
        one = await downloads.under_way(connection, without=owner.resource_id)
        assert one == {waiter.resource_id: (30, 10)}


async def _begin(database: Database, name: str) -> Claim:
    operation = await by_hand.create(database, name)
    claim = await by_hand.claim(database)
    assert claim is not None
    assert claim.lease.operation_id == operation.id
    return claim


async def _claim(database: Database, claim: Claim, *checksums: str) -> set[str]:
    """Those of `checksums` that are the operation's own afterwards."""
    async with database.begin() as connection:
        await fetches.claim(connection, claim.lease, [(sha256, f"{sha256}.bin") for sha256 in checksums])
    async with database.read() as connection:
        others = await fetches.by_others(connection, claim.lease.operation_id, checksums)
    return set(checksums) - {fetch.sha256 for fetch in others}


async def _arrive(database: Database, claim: Claim, *checksums: str) -> None:
    async with database.begin() as connection:
        await fetches.arrived(connection, claim.lease.operation_id, checksums)


async def _wait(database: Database, claim: Claim, *checksums: str) -> None:
    """Give the operation back: it waits for these."""
    async with database.begin() as connection:
        await fetches.wait_for(connection, claim.lease.operation_id, [(sha256, 7) for sha256 in checksums])
        await leases.put_back(connection, claim.lease)


async def _due(database: Database) -> int:
    async with database.read() as connection:
        return (await operations.census(connection)).due


async def _rows(database: Database) -> tuple[int, int]:
    async with database.read() as connection:
        counts = [await connection.execute(select(func.count()).select_from(row)) for row in (FetchRow, WaitRow)]
    return counts[0].scalar_one(), counts[1].scalar_one()


async def _until_one_waits(database: Database) -> None:
    """Until a transaction waits for another one."""
    waits = text(
        "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database OR database IS NULL "
        "WHERE NOT granted AND d.datname = current_database()"
    )
    async with asyncio.timeout(30), database.read() as connection:
        while not (await plain(connection).execute(waits)).scalar_one():  # noqa: ASYNC110  # another server's state
            await asyncio.sleep(0.01)


def _set(claim: Claim, **values: Any) -> Any:
    return update(OperationRow).where(OperationRow.id == claim.lease.operation_id).values(**values)
