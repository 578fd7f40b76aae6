"""Whether a process has what it needs: its database, in the shape it expects, the storage, and Redis."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from redis.exceptions import RedisError
from sqlalchemy import update

from app.db.errors import DatabaseUnreachable
from app.db.revisions import Revisions
from app.db.session import Database
from app.db.tables import CompatibilityRow
from app.depot.volume import Volume, VolumeAway
from app.services import storages
from app.wakeup import Wakeup

_PATIENCE = 2.0
"""Seconds that each check may take."""
_WRITE_EVERY = 5.0
"""Seconds between two test writes, however often readiness is requested."""


class Status(StrEnum):
    """A process's readiness.

    ok           everything answers
    degraded     it works, but slower (operations wait for the workers' next poll), or a person has to decide something
    unavailable  something that it needs is missing
    """

    OK = "ok"
    DEGRADED = "degraded"
    UNAVAILABLE = "unavailable"


class _Writing:
    """Whether the database accepts writes: on a full disk it can still be read."""

    def __init__(self) -> None:
        self._found, self._until = "", 0.0

    async def look(self, database: Database) -> str:
        """Return what is wrong; empty if nothing is."""
        if time.monotonic() >= self._until:
            self._until = time.monotonic() + _WRITE_EVERY
            self._found = await self._try(database)
            if database.ballast and not self._found:
                await asyncio.to_thread(database.ballast.keep)
        return self._found

    async def _try(self, database: Database) -> str:
        try:
            async with asyncio.timeout(_PATIENCE), database.begin() as connection:
                await connection.execute(update(CompatibilityRow).values(oldest=CompatibilityRow.oldest))
        except TimeoutError:
            return ""  # Others are writing at the moment.
        except DatabaseUnreachable as error:
            return error.explanation
        return ""


@dataclass(frozen=True, slots=True)
class Readiness:
    """What a process checks to tell whether it is ready."""

    database: Database
    revisions: Revisions
    wakeup: Wakeup
    volume: Volume
    _writing: _Writing = field(default_factory=_Writing)

    async def report(self) -> tuple[Status, Mapping[str, Any]]:
        """Return the status, and the JSON report with each check's result. A failed check says what to do."""
        (database, migrations, kept), redis, storage = await asyncio.gather(
            self._database(), self._redis(), self._storage()
        )
        found = {
            "database": database,
            "redis": redis,
            "storage": storage,
            "migrations": migrations,
            "housekeeping": kept,
        }
        needed = (database, storage, migrations)
        status = Status.UNAVAILABLE if any(needed) else Status.DEGRADED if redis or kept else Status.OK
        checks = {name: {"ok": False, "message": wrong} if wrong else {"ok": True} for name, wrong in found.items()}
        return status, {"status": status, "checks": checks}

    async def _database(self) -> tuple[str, str, str]:
        """Return what is wrong with the database and with its schema, and housekeeping's complaint."""
        try:
            wrong = self.revisions.judge(await self.database.inspect(self.revisions.shape, within=_PATIENCE))
            async with self.database.read(within=_PATIENCE) as connection:
                kept = "" if wrong else (await storages.known(connection)).complaint
        except DatabaseUnreachable as error:
            return error.explanation, "This can't be told without the database.", ""
        return "" if wrong else await self._writing.look(self.database), wrong, kept

    async def _redis(self) -> str:
        try:
            async with asyncio.timeout(_PATIENCE):
                await self.wakeup.test()
        except (RedisError, OSError):
            return (
                "Redis can't be reached, so operations wait for the workers' next look. Look at whether it runs, and at "
                "DEPOT_REDIS_URL."
            )
        return ""

    async def _storage(self) -> str:
        try:
            await self.volume.look()
        except VolumeAway as error:
            return str(error)
        return ""
