"""Keeps a lease while its operation runs: reports progress, notices a cancellation, renews in time."""

import asyncio
import time
from collections.abc import Callable

import structlog

from app.db.errors import DatabaseUnreachable
from app.db.session import Database
from app.db.transitions import LeaseLost
from app.domain.commands import Command
from app.services import downloads, leases
from app.services.leases import Claim

_LOOK = 1.0
"""Seconds between polls of the row: the longest that a cancellation goes unnoticed or progress is out of date."""

log = structlog.get_logger()


class LeaseHeartbeat:
    """Renews the lease of one claim and reports `downloaded` (bytes), `rate` (bytes per second), `files` (verified)."""

    def __init__(self, database: Database, claim: Claim, lease: float) -> None:
        self.downloaded: int | None = None
        self.rate: int | None = None
        self.files = 0
        self.reports = True
        """Whether progress is written to the model's row."""
        self.on_renewal: Callable[[], None] | None = None
        """Called after each renewal of the lease."""
        self._database = database
        self._claim = claim
        self._lease = lease
        self._renewed = time.monotonic()
        self._reported: tuple[int | None, int | None, int] = (None, None, 0)

    async def run(self) -> None:
        """Run until the lease is lost, then raise `LeaseLost`."""
        while True:
            await asyncio.sleep(min(_LOOK, self._lease / 3))
            asked = time.monotonic()
            try:
                # A stalled database must not delay the end of the download process.
                async with asyncio.timeout(self._renewed + self._lease - asked):
                    await self._look(asked)
            except DatabaseUnreachable as error:
                log.warning("the database can't be used", reason=str(error), error=error.cause)
            except TimeoutError:
                pass
            if time.monotonic() - self._renewed >= self._lease:
                raise LeaseLost

    async def _look(self, asked: float) -> None:
        renewal = asked - self._renewed >= self._lease / 3
        progress = (self.downloaded, self.rate, self.files) if self.reports else self._reported
        if not renewal and progress == self._reported:
            async with self._database.read() as connection:
                await leases.confirm(connection, self._claim.lease)
            return
        async with self._database.begin() as connection:
            if self._claim.command is Command.CREATE_MODEL and progress != self._reported:
                await downloads.report(
                    connection,
                    self._claim.lease,
                    self._claim.resource_id,
                    downloaded=progress[0],
                    rate=progress[1],
                    files=progress[2],
                )
            if renewal:
                await leases.renew(connection, self._claim.lease, seconds=self._lease, reached=self.downloaded or 0)
        self._reported = progress
        if renewal:
            self._renewed = asked
            if self.on_renewal:
                self.on_renewal()
