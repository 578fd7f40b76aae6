"""Whether a process has what it needs: its database, in the shape it expects, the storage, and the doorbell."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from redis.exceptions import RedisError

from app.db.migrate import Revisions
from app.db.session import UNREACHABLE, Database
from app.queue import Doorbell
from app.volume import Volume, VolumeAway

_PATIENCE = 2.0
"""Seconds that each may take to answer."""


class Status(StrEnum):
    """How it is.

    ok           everything answers
    degraded     it works, but slower: operations wait for the workers' next look
    unavailable  something that it needs is missing
    """

    OK = "ok"
    DEGRADED = "degraded"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Readiness:
    """What a process looks at to tell whether it is ready."""

    database: Database
    revisions: Revisions
    doorbell: Doorbell
    volume: Volume

    async def report(self) -> tuple[Status, Mapping[str, Any]]:
        """The status, and it with each check's result as JSON is to show it. A check that failed says what to do."""
        (database, migrations), redis, storage = await asyncio.gather(self._database(), self._redis(), self._storage())
        problems = {"database": database, "redis": redis, "storage": storage, "migrations": migrations}
        needed = (database, storage, migrations)
        status = Status.UNAVAILABLE if any(needed) else Status.DEGRADED if redis else Status.OK
        checks = {
            name: {"ok": False, "message": problem} if problem else {"ok": True} for name, problem in problems.items()
        }
        return status, {"status": status, "checks": checks}

    async def _database(self) -> tuple[str, str]:
        try:
            async with asyncio.timeout(_PATIENCE), self.database.read() as connection:
                return "", self.revisions.judge(await connection.run_sync(self.revisions.shape))
        except UNREACHABLE:  # a timeout is among them
            problem = "The database can't be reached. Look at whether it runs, and at DEPOT_DATABASE_URL."
            return problem, "This can't be told without the database."

    async def _redis(self) -> str:
        try:
            async with asyncio.timeout(_PATIENCE):
                await self.doorbell.test()
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
