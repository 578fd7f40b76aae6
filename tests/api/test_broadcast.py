"""Watching: what is shared by all who watch, counted in statements, and what each of them is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event

from app.api.events import Broadcast, ModelState, Watcher, stream
from app.db.session import Database
from app.depot.figures import Figures
from tests import by_hand

_WATCHERS, _MODELS = 200, 10
_LONG = 20.0


@pytest.fixture
async def broadcast(database: Database) -> AsyncIterator[Broadcast]:
    broadcast = Broadcast(database, Figures())
    running = asyncio.create_task(broadcast.run())
    yield broadcast
    running.cancel()
    await asyncio.wait([running])


async def test_two_hundred_watchers_of_ten_downloads_ask_the_database_no_more_than_one_would(
    database: Database, broadcast: Broadcast
) -> None:
    ids = [(await by_hand.create(database, f"acme/model-{number}")).resource_id for number in range(_MODELS)]
    statements = _noted(database)
    streams = [stream(broadcast, ids[number % _MODELS], _allowed) for number in range(_WATCHERS)]
    first = await asyncio.gather(*(anext(events) for events in streams))
    assert all(told.startswith(b"event: progress") and b'"creating"' in told for told in first)
    for _ in ids:
        await by_hand.carry_out(database)
    rest = await asyncio.gather(*(_all(events) for events in streams))
    assert all(b'"ready"' in told[-2] and told[-1].startswith(b"event: end") for told in rest)
    # Two statements a look. Every watcher's own would be 200 for each time that its model's state changes.
    print(f"statements for {_WATCHERS} watchers: {len(statements)}")
    assert 2 <= len(statements) < _WATCHERS / 2


async def test_one_watcher_of_many_models_is_told_all_of_them_first_and_then_what_changes(
    database: Database, broadcast: Broadcast
) -> None:
    ids = [(await by_hand.create(database, f"acme/model-{number}")).resource_id for number in range(3)]
    nobodys = uuid4()
    async with broadcast.watch(*ids, nobodys) as watcher:
        told = await _until(watcher, {*ids, nobodys})
        assert [told[model_id].under_way for model_id in ids] == [True] * 3
        assert told[nobodys] == ModelState(None, None)
        done = await by_hand.carry_out(database)
        changed = await _until(watcher, {done.resource_id})
    (state,) = changed.values()
    assert state.model is not None
    assert (state.model.status, state.under_way) == ("ready", False)


async def test_who_comes_after_a_retry_is_not_told_the_failure_before_it(
    database: Database, broadcast: Broadcast
) -> None:
    model_id = (await by_hand.create(database, "acme/model")).resource_id
    async with broadcast.watch(model_id) as lasting:
        await _until(lasting, {model_id})
        await by_hand.fail(database)
        while (await _until(lasting, {model_id}))[model_id].under_way:
            pass
        await by_hand.create(database, "acme/model")
        async with _watching(broadcast, model_id) as told:
            assert told.under_way


@asynccontextmanager
async def _watching(broadcast: Broadcast, model_id: UUID) -> AsyncIterator[ModelState]:
    """What a new watcher is told first."""
    async with broadcast.watch(model_id) as watcher:
        yield (await watcher.changes(_LONG))[model_id]


async def _until(watcher: Watcher, expected: set[UUID]) -> dict[UUID, ModelState]:
    told: dict[UUID, ModelState] = {}
    while not expected <= told.keys():
        news = await watcher.changes(_LONG)
        assert news, f"nothing in {_LONG} seconds"
        told |= news
    return told


async def _allowed() -> bool:
    return True


async def _all(events: AsyncIterator[bytes]) -> list[bytes]:
    return [told async for told in events]


def _noted(database: Database) -> list[str]:
    """What is read from the database from now on, growing as it goes."""
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(database.reader.sync_engine, "before_cursor_execute", note)
    return statements
