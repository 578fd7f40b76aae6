"""Progress as server-sent events: one query a second for all the watchers of this process together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Row, select

from app.api.schemas import MODEL, OPERATION, Model, operation
from app.db.session import UNREACHABLE, Database
from app.db.tables import ModelRow
from app.services import models, operations

_INTERVAL = 1.0
"""Seconds between looks at the database while anybody watches; also the most that an event is late."""
_HEARTBEAT = 15.0
"""Seconds of silence after which a comment is sent, so that proxies keep the connection and a gone client is noticed."""

log = structlog.get_logger()


class Broadcast:
    """Tells every watcher of a model what changed. A watcher that is slow sees the newest state, not every one."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watchers: dict[UUID, set[asyncio.Queue[Row[Any] | None]]] = {}
        self._watching = asyncio.Event()

    async def run(self) -> None:
        """Look, as long as there are watchers; until cancelled."""
        while True:
            await self._watching.wait()
            await asyncio.sleep(_INTERVAL)
            try:
                await self._look()
            except UNREACHABLE as error:
                log.warning("the database can't be reached: watchers wait", error=repr(error))

    @asynccontextmanager
    async def watch(self, model_id: UUID) -> AsyncIterator[asyncio.Queue[Row[Any] | None]]:
        """A queue of one place that holds the model's newest row; `None` once the model is gone."""
        newest: asyncio.Queue[Row[Any] | None] = asyncio.Queue(1)
        self._watchers.setdefault(model_id, set()).add(newest)
        self._watching.set()
        try:
            yield newest
        finally:
            self._watchers[model_id].discard(newest)
            if not self._watchers[model_id]:
                del self._watchers[model_id]
            if not self._watchers:
                self._watching.clear()

    async def _look(self) -> None:
        watched = list(self._watchers)
        async with self._database.read() as connection:
            query = select(*models.SEEN).where(ModelRow.id.in_(watched))
            rows = {row.id: row for row in (await connection.execute(query)).all()}
        for model_id in watched:
            for queue in self._watchers.get(model_id, ()):
                with suppress(asyncio.QueueEmpty):
                    queue.get_nowait()
                queue.put_nowait(rows.get(model_id))


async def stream(broadcast: Broadcast, database: Database, model_id: UUID) -> AsyncIterator[bytes]:
    """The events of one watcher: `progress` with the model at each change, then `end` with its operation."""
    async with broadcast.watch(model_id) as newest:
        under_way, row = await _now(database, model_id)
        shown: Model | None = None
        while row is not None:
            model = MODEL.validate_python(row)
            if model != shown:
                shown = model
                yield _event("progress", MODEL.dump_json(model, by_alias=True))
            if under_way is None:
                break
            try:
                row = await asyncio.wait_for(newest.get(), _HEARTBEAT)
            except TimeoutError:
                yield b": still here\n\n"
                continue
            if row is None or row.status != model.status or row.updated_at != model.updated_at:
                under_way, row = await _now(database, model_id)
        async with database.read() as connection:
            last = await operations.latest(connection, model_id)
    if last is not None:
        yield _event("end", OPERATION.dump_json(operation(last), by_alias=True, exclude_none=True))


async def _now(database: Database, model_id: UUID) -> tuple[Row[Any] | None, Row[Any] | None]:
    """The operation under way and the model, in this order: once nothing is under way, the model is as it was left."""
    async with database.read() as connection:
        under_way = await operations.pending(connection, model_id)
        query = select(*models.SEEN).where(ModelRow.id == model_id)
        row: Row[Any] | None = (await connection.execute(query)).one_or_none()
    return under_way, row


def _event(name: str, data: bytes) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
