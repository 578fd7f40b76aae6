"""The operations as people read them: the newest first or by a figure, a page at a time, by state and command."""

from datetime import UTC, datetime, timedelta
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
from app.services.history import Search
from tests import by_hand

_ANY = Search()
_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
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


async def test_what_has_ended_is_in_the_order_of_a_figure_and_what_lacks_it_comes_last_the_newest_first(
    database: Database,
) -> None:
    slow = await _ended(database, "acme/slow", created=-500, begun=-450, ended=-440, to_fetch=1000)
    fast = await _ended(database, "acme/fast", created=-400, begun=-395, ended=-390, to_fetch=5000)
    here = await _ended(database, "acme/here", created=-300, begun=-271, ended=-270, to_fetch=0)
    failed = await _ended(database, "acme/failed", created=-200, begun=-190, ended=-180, to_fetch=9000)
    await _set(database, failed, state=OperationState.FAILURE)
    instant = await _ended(database, "acme/instant", created=-100, begun=None, ended=-100, to_fetch=None)
    await by_hand.create(database, "acme/pending")
    orders = {
        "took": ([fast, failed, here, slow], [instant]),
        "fetched": ([here, slow, fast], [instant, failed]),
        "average": ([slow, fast], [instant, failed, here]),
    }
    for name, (known, unknown) in orders.items():
        assert await _ids(database, sort=name) == known + unknown
        assert await _ids(database, sort=f"-{name}") == known[::-1] + unknown
        paged = [await _ids(database, sort=name, limit=2, offset=offset) for offset in (0, 2, 4, 6)]
        assert paged == [(known + unknown)[offset : offset + 2] for offset in (0, 2, 4, 6)]
    async with database.read() as connection:
        rows = await history.find(connection, Search(), sort="-took", limit=9, offset=0)
    told = {row.id: (row.took and round(row.took), row.fetched, row.average and round(row.average)) for row in rows}
    assert told == {
        slow: (60, 1000, 100),
        fast: (10, 5000, 1000),
        here: (30, 0, None),
        failed: (20, None, None),
        instant: (None, None, None),
    }


async def test_the_order_of_a_figure_keeps_to_an_outcome_a_command_and_a_reach(database: Database) -> None:
    ready = await by_hand.ready_model(database, "acme/ready")
    created = (await _page(database, limit=1))[0].id
    await by_hand.create(database, "other/failed")
    failed = (await by_hand.fail(database)).lease.operation_id
    async with database.begin() as connection:
        made = await deployments.create(connection, model_id=ready, model_name=None, name="chat", **NOTHING)
    wanted = {
        Search(): {created, failed, made.id},
        Search(state=OperationState.SUCCESS): {created, made.id},
        Search(command=Command.CREATE_MODEL): {created, failed},
        Search(OperationState.FAILURE, Command.CREATE_MODEL): {failed},
        Search(reach=NameLimit(("acme/*",))): {created, made.id},
        Search(OperationState.SUCCESS, Command.CREATE_DEPLOYMENT, NameLimit(("other/*",))): set(),
        Search(resource_id=ready): {created},
        Search(OperationState.FAILURE, resource_id=ready): set(),
        Search(resource_id=ready, reach=NameLimit(("other/*",))): set(),
    }
    for search, ids in wanted.items():
        for sort in history.SORTS:
            assert set(await _ids(database, search, sort=sort)) == ids
        async with database.read() as connection:
            assert await history.count(connection, search) == len(ids)


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


async def _ids(database: Database, search: Search = _ANY, *, sort: str, limit: int = 9, offset: int = 0) -> list[UUID]:
    async with database.read() as connection:
        rows = await history.find(connection, search, sort=sort, limit=limit, offset=offset)
    return [row.id for row in rows]


async def _ended(
    database: Database, name: str, *, created: float, begun: float | None, ended: float, to_fetch: int | None
) -> UUID:
    """The id of a download that succeeded, with its times in seconds from one moment on."""
    await by_hand.ready_model(database, name)
    operation_id: UUID = (await _page(database, limit=1))[0].id
    times = {"created_at": created, "begun_at": begun, "ended_at": ended}
    values = {column: _MOMENT + timedelta(seconds=at) if at is not None else None for column, at in times.items()}
    await _set(database, operation_id, to_fetch=to_fetch, **values)
    return operation_id
