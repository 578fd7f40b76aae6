"""One API process's cache of API keys: looked up on use, kept for two seconds."""

import asyncio
import time
from dataclasses import dataclass

import structlog

from app.db.errors import DatabaseUnreachable
from app.db.session import Database
from app.domain.keys import UNLIMITED, NameLimit, Role
from app.sealing import CannotOpen, Sealer
from app.services import keys
from app.services.access_rows import UsableKey

_REMEMBERED_FOR = 2.0
"""Seconds; a revoked key is still accepted for as long."""
_REMEMBERED = 1000
_FLUSH_EVERY, _TOUCH_EVERY = 5.0, 60.0
"""Seconds between flushes of key uses, and between two records of one key's use."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Key:
    """A key that may be used now."""

    id: str
    name: str
    role: Role
    secret: bytes
    limit: NameLimit = UNLIMITED
    auto_deployment: bool = False
    """Pulling a model with it declares a deployment of the key's name."""

    def may_read(self, name: str) -> bool:
        """Return whether the key opens the models of that name."""
        return self.limit.permits(name)


class Keyring:
    """Finds keys, and records when they were last used."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database, self._sealer = database, sealer
        self._known: dict[str, tuple[Key | None, float]] = {}
        self._queries: dict[str, asyncio.Future[Key | None]] = {}
        self._used: set[str] = set()
        self._noted: dict[str, float] = {}

    async def find(self, key_id: str) -> Key | None:
        """Return the key; None if it is unknown, revoked, expired, or sealed with a secret key that is not ours."""
        key, until = self._known.get(key_id, (None, 0.0))
        if time.monotonic() < until:
            return key
        # Concurrent callers share one query.
        query = self._queries.get(key_id)
        if query is None:
            query = self._queries[key_id] = asyncio.ensure_future(self._query(key_id))
            query.add_done_callback(lambda _: self._queries.pop(key_id))
        return await asyncio.shield(query)

    def note_use(self, key: Key) -> None:
        """Remember that the key was used, for `run` to record."""
        self._used.add(key.id)

    async def run(self) -> None:
        """Record which keys were used, off the requests' path; until cancelled."""
        while True:
            await asyncio.sleep(_FLUSH_EVERY)
            try:
                await self._flush(time.monotonic())
            except DatabaseUnreachable as error:
                log.warning("last uses of keys are noted later", reason=str(error), error=error.cause)

    async def _flush(self, now: float) -> None:
        stale = [key_id for key_id in self._used if now - self._noted.get(key_id, -_TOUCH_EVERY) >= _TOUCH_EVERY]
        if not stale:
            return
        async with self._database.begin() as connection:
            await keys.touch(connection, stale)
        self._noted |= dict.fromkeys(stale, now)
        self._used.difference_update(stale)

    async def _query(self, key_id: str) -> Key | None:
        now = time.monotonic()
        async with self._database.read() as connection:
            row = await keys.usable(connection, key_id)
        key = None if row is None else self._opened(key_id, row)
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[key_id] = (key, now + _REMEMBERED_FOR)
        return key

    def _opened(self, key_id: str, row: UsableKey) -> Key | None:
        try:
            secret = self._sealer.open(row.sealed_secret, belongs_to=keys.sealed_for(key_id, row.models)).encode()
            limit = NameLimit.from_text(row.models)
            return Key(key_id, row.name, row.role, secret, limit, row.auto_deployment)
        except CannotOpen as error:
            log.warning("an API key's secret can't be opened: check DEPOT_SECRET_KEY", key=key_id, error=str(error))
            return None
