"""The list of workers: who says that it is there, who fell silent, and what each has in hand."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import select, update

from app.db.clock import now
from app.db.session import Database
from app.db.tables import OperationRow, WorkerRow
from app.domain.errors import NotFound
from app.services import downloads, workers
from app.services.workers import Listed, Presence
from tests import by_hand

_ONE = Presence("host-1:7", "host-1", "1.2.3", slots=4, poll_interval=5.0)
_TWO = replace(_ONE, name="host-2:7", host="host-2")


async def test_a_worker_is_listed_with_what_it_holds_from_its_start_to_its_stop(database: Database) -> None:
    operation = await by_hand.create(database, "acme/model", request_id="the-request")
    await _announce(database, _ONE, fresh=True)
    await _announce(database, _TWO, fresh=True)
    claim = await by_hand.claim(database, _TWO.name)
    assert claim is not None
    assert claim.request_id == "the-request"
    async with database.begin() as connection:
        await downloads.report(connection, claim.lease, claim.resource_id, downloaded=9, rate=3, files=0)

    first, second = await _listed(database)
    assert (first.worker.name, first.worker.alive, first.holds) == (_ONE.name, True, [])
    assert (second.worker.host, second.worker.version, second.worker.slots) == ("host-2", "1.2.3", 4)
    (held,) = second.holds
    assert (held.id, held.model_name, held.downloaded, held.rate) == (operation.id, "acme/model", 9, 3)
    assert held.request_id == "the-request"
    assert first.worker.started_at <= held.leased_at <= await _now(database)

    async with database.begin() as connection:
        await workers.sign_out(connection, _TWO.name)
    assert [each.worker.name for each in await _listed(database)] == [_ONE.name]


async def test_a_worker_is_busy_idle_or_silent_whatever_it_held(database: Database) -> None:
    await by_hand.create(database, "acme/model")
    await _announce(database, _ONE, fresh=True)
    await _announce(database, _TWO, fresh=True)
    await by_hand.claim(database, _TWO.name)
    assert [each.status for each in await _listed(database)] == ["idle", "busy"]
    await _seen(database, now(-60))
    assert [each.status for each in await _listed(database)] == ["silent", "silent"]


async def test_a_lease_that_ran_out_is_held_by_nobody(database: Database) -> None:
    await by_hand.create(database, "acme/model")
    await _announce(database, _ONE, fresh=True)
    await by_hand.claim(database, _ONE.name)
    async with database.begin() as connection:
        await connection.execute(update(OperationRow).values(due_at=now(-1)))
    assert [each.holds for each in await _listed(database)] == [[]]


async def test_one_that_missed_three_looks_is_not_alive_and_after_an_hour_it_is_forgotten(database: Database) -> None:
    await _announce(database, _ONE, fresh=True)
    for silence, alive in ((5, True), (16, False), (3500, False)):
        await _seen(database, now(-silence))
        async with database.begin() as connection:
            assert await workers.forget_silent(connection) == 0
        assert [each.worker.alive for each in await _listed(database)] == [alive]
    await _seen(database, now(-3700))
    async with database.begin() as connection:
        assert await workers.forget_silent(connection) == 1
    assert await _listed(database) == []


async def test_a_silent_one_is_missed_while_nobody_is_there_or_took_over_what_it_did(database: Database) -> None:
    async def missed() -> list[bool]:
        return [each.missed for each in await _listed(database)]

    await _announce(database, _ONE, fresh=True)
    assert await missed() == [False]
    await _seen(database, now(-3700))
    assert await missed() == [True]
    await _announce(database, _TWO, fresh=True)
    assert await missed() == [False, False]
    await by_hand.create(database, "acme/model")
    await by_hand.claim(database, _ONE.name, lease=-1.0)
    assert await missed() == [True, False]
    async with database.begin() as connection:
        assert await workers.forget_silent(connection) == 0
        await connection.execute(update(OperationRow).values(paused=True))
    assert await missed() == [False, False]
    async with database.begin() as connection:
        await connection.execute(update(OperationRow).values(paused=False))
    assert await by_hand.claim(database, _TWO.name) is not None
    assert await missed() == [False, False]


async def test_only_a_silent_one_is_dismissed_and_one_that_is_missed_is_forgotten_after_a_day(
    database: Database,
) -> None:
    for name, found in ((_ONE.name, True), (_TWO.name, False), ("nobody", False)):
        await _announce(database, _ONE, fresh=True)
        await _seen(database, now(-20))
        await _announce(database, _TWO, fresh=True)
        async with database.begin() as connection:
            if found:
                await workers.dismiss(connection, name)
                continue
            with pytest.raises(NotFound):
                await workers.dismiss(connection, name)
    assert [each.worker.name for each in await _listed(database)] == [_ONE.name, _TWO.name]
    await by_hand.create(database, "acme/model")
    await by_hand.claim(database, _ONE.name)
    await _seen(database, now(-86_500))
    async with database.begin() as connection:
        assert await workers.forget_silent(connection) == 2
    assert await _listed(database) == []


async def test_a_look_says_nothing_new_but_that_it_is_there_and_a_start_under_an_old_name_begins_anew(
    database: Database,
) -> None:
    await _announce(database, _ONE, fresh=True)
    (begun,) = await _listed(database)
    await _announce(database, _ONE, fresh=False)
    (later,) = await _listed(database)
    assert later.worker.started_at == begun.worker.started_at
    assert later.worker.seen_at > begun.worker.seen_at
    await _announce(database, replace(_ONE, slots=8), fresh=True)
    (again,) = await _listed(database)
    assert again.worker.started_at > begun.worker.started_at
    assert again.worker.slots == 8


async def _announce(database: Database, presence: Presence, *, fresh: bool) -> None:
    async with database.begin() as connection:
        await workers.announce(connection, presence, fresh=fresh)


async def _listed(database: Database) -> list[Listed]:
    async with database.read() as connection:
        return list(await workers.list_all(connection))


async def _seen(database: Database, when: Any) -> None:
    async with database.begin() as connection:
        await connection.execute(update(WorkerRow).values(seen_at=when))


async def _now(database: Database) -> datetime:
    async with database.read() as connection:
        moment: datetime = (await connection.execute(select(now()))).scalar_one()
        return moment
