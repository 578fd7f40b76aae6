"""Live progress: a few queries per second for all watchers of this process together, however many there are."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

import structlog

from app.api.answers import body, operation_body, plain
from app.api.schemas import MODEL
from app.db.errors import DatabaseUnreachable
from app.db.session import Database
from app.depot.figures import Figures
from app.domain.states import OperationState
from app.services import catalogue, models, operations
from app.services.rows import ModelRecord, OperationRecord

_INTERVAL = 1.0
"""Seconds between polls of the database while there is a watcher."""
_APART = 0.1
"""Seconds from one poll to the next that a new watcher requests."""
_AT_ONCE, _PAUSE = 10, 0.01
"""Watchers told in a row, and seconds of pause after them: other requests don't wait for all watchers."""
LOOK_AT_KEY = 2.5
"""Seconds between checks that a watcher's key may still be used; most are answered from memory."""
_HEARTBEATS = 6
"""Checks without news, 15 s, until a comment is sent: proxies keep the connection and a gone client is noticed."""

log = structlog.get_logger()


@dataclass(frozen=True)
class ModelState:
    """A model as of one poll, with its newest operation. Its events are serialized once for all watchers."""

    model: ModelRecord | None
    """`None` once it is gone."""
    operation: OperationRecord | None
    """`None` once it is forgotten."""

    @property
    def under_way(self) -> bool:
        return self.operation is not None and self.operation.state == OperationState.PENDING

    @cached_property
    def progress(self) -> bytes:
        """Empty once the model is gone."""
        if self.model is None:
            return b""
        return _event("progress", body(MODEL, *plain([self.model])))

    @cached_property
    def end(self) -> bytes:
        """Empty if no operation is remembered."""
        if self.operation is None:
            return b""
        return _event("end", operation_body(self.operation))


class Watcher:
    """A client that watches some models. A slow one gets the newest state of each model, not every state."""

    def __init__(self, *, totals: bool = False) -> None:
        self.totals = totals
        """Whether it is woken, too, when all models' totals have changed."""
        self._told: dict[UUID, ModelState] = {}
        self._news: dict[UUID, ModelState] = {}
        self._woken = asyncio.Event()

    async def changes(self, within: float) -> dict[UUID, ModelState]:
        """Wait up to `within` seconds for news; return what is not taken yet. At first every model's state is news."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._woken.wait()
        self._woken.clear()
        news, self._news = self._news, {}
        return news

    def tell(self, states: Mapping[UUID, ModelState], *, totals: bool = False) -> bool:
        """Keep what is news for `changes`; return whether any of it is. `totals`: whether these are news."""
        news = {model_id: state for model_id, state in states.items() if self._told.get(model_id) is not state}
        self._told |= news
        self._news |= news
        if is_news := bool(news) or (totals and self.totals):
            self._woken.set()
        return is_news


class Broadcast:
    """Polls the watched models, and tells their watchers.

    `digest` is that of all models' totals at the last poll; empty while nobody watches these.
    """

    def __init__(self, database: Database, figures: Figures) -> None:
        self._database, self._figures = database, figures
        self.digest = ""
        self._watchers: dict[Watcher, tuple[UUID, ...]] = {}
        self._states: dict[UUID, ModelState] = {}
        self._watched, self._asked = asyncio.Event(), asyncio.Event()

    async def run(self) -> None:
        """Poll while there are watchers; until cancelled."""
        while True:
            await self._watched.wait()
            self._asked.clear()
            try:
                await self._poll()
            except DatabaseUnreachable as error:
                log.warning("watchers wait", reason=str(error), error=error.cause)
            await asyncio.sleep(_APART)
            with suppress(TimeoutError):
                async with asyncio.timeout(_INTERVAL - _APART):
                    await self._asked.wait()

    @property
    def crowd(self) -> int:
        """How many watch."""
        return len(self._watchers)

    @asynccontextmanager
    async def watch(self, *model_ids: UUID, totals: bool = False) -> AsyncIterator[Watcher]:
        watcher = Watcher(totals=totals)
        if not self._watchers:
            self._states, self.digest = {}, ""  # Only valid while there is a watcher.
        if model_ids or totals:
            self._watchers[watcher] = model_ids
            self._watched.set()
        # What had ended at the last poll may have started again since.
        known = {model_id: state for model_id in model_ids if (state := self._states.get(model_id)) and state.under_way}
        watcher.tell(known)
        if len(known) < len(model_ids):
            self._asked.set()
        try:
            yield watcher
        finally:
            self._watchers.pop(watcher, None)
            if not self._watchers:
                self._watched.clear()

    async def _poll(self) -> None:
        # A watcher that joins during this poll is told by the next one: this one may read an older state than it knows.
        watchers = dict(self._watchers)
        model_ids = list({model_id for watched in watchers.values() for model_id in watched})
        async with self._database.read() as connection:
            # In this order: if no operation is under way, the model's row read after it is final.
            newest = await operations.newest(connection, model_ids)
            rows = await models.get_many(connection, model_ids)
            wanted = any(watcher.totals for watcher in watchers)
            digest = catalogue.digest(await self._figures.models.look(connection)) if wanted else ""
        changed, self.digest = digest != self.digest, digest
        before, self._states = self._states, {}
        for model_id in model_ids:
            now, known = ModelState(rows.get(model_id), newest.get(model_id)), before.get(model_id)
            self._states[model_id] = known if known == now else now
        states, told = self._states, 0
        for watcher, watched in watchers.items():
            told += watcher.tell({model_id: states[model_id] for model_id in watched}, totals=changed)
            if told == _AT_ONCE:
                told = 0
                await asyncio.sleep(_PAUSE)


async def stream(broadcast: Broadcast, model_id: UUID, may_look: Callable[[], Awaitable[bool]]) -> AsyncIterator[bytes]:
    """Yield one watcher's events: `progress` with the model at each change, then `end` with its operation.

    The stream stops without `end` once the watcher may no longer watch.
    """
    async with broadcast.watch(model_id) as watcher:
        shown, silent = b"", 0
        while await still(may_look):
            state = (await watcher.changes(LOOK_AT_KEY)).get(model_id)
            if state is None:
                silent = (silent + 1) % _HEARTBEATS
                if not silent:
                    yield b": still here\n\n"
                continue
            silent = 0
            if state.progress != shown:
                shown = state.progress
                yield shown
            if not state.under_way:
                yield state.end
                return


async def still(may_look: Callable[[], Awaitable[bool]]) -> bool:
    """Return the result of `may_look`; True while the database can't be reached."""
    try:
        return await may_look()
    except DatabaseUnreachable as error:
        log.warning("a watcher's key is looked at later", reason=str(error), error=error.cause)
        return True


def _event(name: str, data: bytes) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
