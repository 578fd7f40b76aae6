"""The operations as people read them: the newest first, a page at a time, by state and command."""

from typing import Any
from uuid import UUID

from sqlalchemy import update

from app.db.clock import now
from app.db.session import Database
from app.db.tables import OperationRow
from app.domain.commands import Command
from app.domain.keys import NameLimit
from app.domain.states import OperationState
from app.services import deployments, history, leases, models
from tests import by_hand

NOTHING: dict[str, Any] = dict.fromkeys(
    ("gpu_type", "gpu_count", "replicas", "deployment_url", "inference_engine_version")
) | {"inference_engine_parameters": []}


async def test_an_attempt_after_one_that_failed_or_died_is_a_retry_and_one_after_a_pause_is_none(
    database: Database,
) -> None:
    await by_hand.create(database, "acme/model")
    for put_back, retries in ((True, 0), (True, 0), (False, 0), (True, 1), (False, 1), (False, 2)):
        claim = await by_hand.claim(database)
        assert claim is not None
        async with database.begin() as connection:
            await leases.renew(
                connection, claim.lease, seconds=30, reached=claim.lease.fence
            )  # progress: of no account
        assert await _retries(database) == [retries]
        async with database.begin() as connection:
            if put_back:
                await leases.put_back(connection, claim.lease)
            else:
                await leases.release(connection, claim.lease, after=0, message="The Hub is busy.")
    await by_hand.claim(database, lease=-1.0)
    await by_hand.carry_out(database)
    await by_hand.create(database, "acme/at-once")
    await by_hand.carry_out(database)
    assert await _retries(database) == [0, 4]


async def test_pages_hold_every_operation_once_the_newest_first(database: Database) -> None:
    made = [(await by_hand.create(database, f"acme/model-{number}")).id for number in range(7)]
    await by_hand.carry_out(database)
    await by_hand.fail(database)
    async with database.begin() as connection:  # two of the same moment are told apart by their ids
        await connection.execute(update(OperationRow).where(OperationRow.id.in_(made[2:4])).values(created_at=now(-60)))

    everything = [row.id for row in await _page(database, limit=100)]
    assert sorted(everything) == sorted(made)
    assert everything[:3] == made[:-4:-1]
    assert set(everything[-2:]) == set(made[2:4])
    paged, before = [], None
    while rows := await _page(database, limit=2, before=before):
        paged += [row.id for row in rows]
        before = paged[-1]
    assert paged == everything
    paged, before = [], None
    while rows := await _page(database, limit=2, before=before, oldest=True):
        paged += [row.id for row in rows]
        before = paged[-1]
    assert paged == everything[::-1]


async def test_a_page_may_be_of_one_state_or_one_command_or_both(database: Database) -> None:
    model_id = await by_hand.ready_model(database, "acme/ready")
    failed = await by_hand.create(database, "acme/failed")
    await by_hand.fail(database)
    async with database.begin() as connection:
        made = await deployments.create(connection, model_id=model_id, model_name=None, name="chat", **NOTHING)
        pending = await models.request_delete(connection, failed.resource_id, deadline=60.0)

    assert [row.id for row in await _page(database, limit=9, state=OperationState.FAILURE)] == [failed.id]
    assert [row.id for row in await _page(database, limit=9, command=Command.DELETE_MODEL)] == [pending.id]
    success = {"state": OperationState.SUCCESS, "command": Command.CREATE_DEPLOYMENT}
    (deployed,) = await _page(database, limit=9, **success)
    assert (deployed.id, deployed.subject, deployed.model_id) == (made.id, "chat", None)
    assert await _page(database, limit=9, state=OperationState.TIMEOUT) == []


async def test_what_an_operation_is_about_who_holds_it_and_why_it_failed_is_told(database: Database) -> None:
    failed = await by_hand.create(database, "acme/failed")
    await by_hand.fail(database)
    held = await by_hand.create(database, "acme/held")
    await by_hand.claim(database, "host-1:7")
    lost = await by_hand.create(database, "acme/lost")
    await by_hand.claim(database, "host-2:7", lease=-1.0)

    rows = {row.id: row for row in await _page(database, limit=9)}
    assert (rows[failed.id].subject, rows[failed.id].reason) == ("acme/failed", "not-found")
    assert rows[failed.id].message == "The Hub has no such repository."
    assert (rows[held.id].lease_owner, rows[held.id].later, rows[held.id].attempts) == ("host-1:7", True, 1)
    assert (rows[lost.id].lease_owner, rows[lost.id].later) == ("host-2:7", False)

    async with database.begin() as connection:
        await models.request_delete(connection, failed.resource_id, deadline=60.0)
    async with database.read() as connection:
        of_one = await history.of(connection, failed.resource_id, limit=9)
    assert [row.command for row in of_one] == [Command.DELETE_MODEL, Command.CREATE_MODEL]


async def test_an_operation_keeps_the_name_of_what_is_gone(database: Database) -> None:
    model_id = await by_hand.ready_model(database, "acme/gone")
    async with database.begin() as connection:
        made = await deployments.create(connection, model_id=model_id, model_name=None, name="chat", **NOTHING)
        await deployments.remove(connection, made.resource_id)
        await models.request_delete(connection, model_id, deadline=60.0)
    await by_hand.carry_out(database)
    told = [(row.command, row.subject, row.model_id) for row in await _page(database, limit=9)]
    assert told == [
        (Command.DELETE_MODEL, "acme/gone", None),
        (Command.DELETE_DEPLOYMENT, "chat", None),
        (Command.CREATE_DEPLOYMENT, "chat", None),
        (Command.CREATE_MODEL, "acme/gone", None),
    ]


async def test_a_page_may_be_of_what_has_ended(database: Database) -> None:
    await by_hand.ready_model(database, "acme/ready")
    await by_hand.create(database, "acme/failed")
    await by_hand.fail(database)
    pending = await by_hand.create(database, "acme/pending")
    ended = await _page(database, limit=9, ended=True)
    assert [row.state for row in ended] == [OperationState.FAILURE, OperationState.SUCCESS]
    assert pending.id in {row.id for row in await _page(database, limit=9)}


async def test_what_is_under_way_is_told_with_its_progress_and_what_workers_hold_comes_first(
    database: Database,
) -> None:
    await by_hand.create(database, "acme/first")
    claim = await by_hand.claim(database)
    assert claim is not None
    await by_hand.arrive(database, claim, 30)
    late, waiting = await by_hand.create(database, "acme/late"), await by_hand.create(database, "acme/waiting")
    async with database.begin() as connection:
        later = update(OperationRow).where(OperationRow.id == late.id)
        await connection.execute(later.values(due_at=now(60.0)))
    async with database.read() as connection:
        rows = await history.under_way(connection, limit=9)
        assert len(await history.under_way(connection, limit=2)) == 2
        ours = await history.under_way(connection, limit=9, reach=NameLimit(("acme/first",)))
    assert [row.id for row in rows] == [claim.lease.operation_id, waiting.id, late.id]
    assert (rows[0].downloaded, rows[0].total, rows[0].to_fetch, rows[0].retries) == (30, 100, 70, 0)
    assert rows[1].total is None
    assert [row.id for row in ours] == [claim.lease.operation_id]


async def test_what_a_download_had_to_fetch_is_what_was_missing_when_it_first_began(database: Database) -> None:
    operation = await by_hand.create(database, "acme/resumed")
    for here in (10, 60):
        claim = await by_hand.claim(database, lease=-1.0)
        assert claim is not None
        await by_hand.arrive(database, claim, here)
    (row,) = await _page(database, limit=9)
    assert (row.id, row.to_fetch, row.retries) == (operation.id, 90, 1)
    assert row.begun_at < row.now


async def test_a_download_began_later_by_the_time_in_which_no_worker_was_at_it(database: Database) -> None:
    """As when it is paused: how fast it was is told of the time in which it was fetched."""
    operation = await by_hand.create(database, "acme/paused")
    claim = await by_hand.claim(database)
    assert claim is not None
    await by_hand.arrive(database, claim, 10)
    await _set(database, operation.id, begun_at=now(-1100.0), renewed_at=now(-1000.0))
    async with database.begin() as connection:
        await leases.put_back(connection, claim.lease)
    for gap in (0.0, 800.0):  # taken up again at once, then after a pause or a worker's death
        if gap:
            await _set(database, operation.id, renewed_at=now(-gap), due_at=now(-1.0))
        assert await by_hand.claim(database) is not None
        (row,) = await _page(database, limit=9)
        assert 1100.0 - gap <= (row.now - row.begun_at).total_seconds() < 1200.0 - gap


async def test_downloads_that_ended_since_are_told_once_and_cancelled_ones_never(database: Database) -> None:
    await by_hand.ready_model(database, "acme/before")
    async with database.read() as connection:
        since = await history.clock(connection)
    ready = await by_hand.ready_model(database, "acme/ready")
    await by_hand.create(database, "acme/failed")
    await by_hand.fail(database)
    gone = await by_hand.ready_model(database, "acme/gone")
    async with database.begin() as connection:
        await models.request_delete(connection, gone, deadline=60.0)
    async with database.read() as connection:
        told = await history.finished_downloads(connection, since, limit=9)
        again = await history.finished_downloads(connection, told[-1].ended_at, limit=9)
        ours = await history.finished_downloads(connection, since, limit=9, reach=NameLimit(("acme/ready",)))
    assert [(row.name, row.state) for row in told] == [
        ("acme/ready", OperationState.SUCCESS),
        ("acme/failed", OperationState.FAILURE),
    ]
    assert again == []
    assert [row.resource_id for row in ours] == [ready]


async def _retries(database: Database) -> list[int]:
    return [row.retries for row in await _page(database, limit=9)]


async def _page(database: Database, **given: Any) -> list[Any]:
    async with database.read() as connection:
        return list(await history.page(connection, **given))


async def _set(database: Database, operation_id: UUID, **values: Any) -> None:
    async with database.begin() as connection:
        await connection.execute(update(OperationRow).where(OperationRow.id == operation_id).values(**values))
