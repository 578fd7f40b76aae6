"""Keeps a lease while its operation runs: reports progress, notices a cancellation, renews in time."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.errors import DatabaseUnreachable
from app.db.session import Database
from app.db.transitions import LeaseLost
from app.domain.commands import Command
from app.domain.errors import NotYet
from app.services import downloads, leases
from app.services.leases import Claim

_LOOK = 1.0
"""Seconds between polls of the row: the longest that a cancellation goes unnoticed or progress is out of date."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Progress:
    downloaded: int | None = None
    rate: int | None = None
    """Bytes per second."""
    files: int = 0


class LeaseHeartbeat:
    """Renews the lease of one claim and writes the progress of its download to the model's row."""

    def __init__(self, database: Database, claim: Claim, lease: float) -> None:
        self._database = database
        self._claim = claim
        self._lease = lease
        self._renewed = time.monotonic()
        self._on_renewal: Callable[[], None] = lambda: None
        self._on_pause: Callable[[], None] = lambda: None
        self._reports = True
        self._progress = self._reported = _Progress()

    @property
    def downloaded(self) -> int:
        """Bytes that are here."""
        return self._progress.downloaded or 0

    def attach(self, on_renewal: Callable[[], None], on_pause: Callable[[], None], *, reports: bool) -> None:
        """Call `on_renewal` after each renewal of the lease from now on, `on_pause` before a pause ends the work.

        Write progress only if `reports`.
        """
        self._on_renewal, self._on_pause, self._reports = on_renewal, on_pause, reports

    def count_bytes(self, downloaded: int, rate: int | None = None) -> None:
        """Note how many bytes are here, and how many arrive per second."""
        self._progress = replace(self._progress, downloaded=downloaded, rate=rate)

    def count_files(self, verified: int) -> None:
        """Note how many files are verified."""
        self._progress = replace(self._progress, files=verified)

    async def write_progress(self, connection: AsyncConnection) -> None:
        """Write the progress now, in the caller's transaction, unless it is not reported."""
        if self._reports:
            claim, progress = self._claim, self._progress
            await downloads.report(
                connection,
                claim.lease,
                claim.resource_id,
                downloaded=progress.downloaded,
                rate=progress.rate,
                files=progress.files,
            )

    async def run(self) -> None:
        """Run until the lease is lost, then raise `LeaseLost`; or until the operation is paused, then `NotYet`."""
        while True:
            await asyncio.sleep(min(_LOOK, self._lease / 3))
            asked = time.monotonic()
            try:
                # A stalled database must not delay the end of the download process.
                async with asyncio.timeout(self._renewed + self._lease - asked):
                    await self._look(asked)
            except NotYet:
                self._on_pause()
                raise
            except DatabaseUnreachable as error:
                log.warning("the database can't be used", reason=str(error), error=error.cause)
            except TimeoutError:
                pass
            if time.monotonic() - self._renewed >= self._lease:
                raise LeaseLost

    async def _look(self, asked: float) -> None:
        try:
            await self._beat(asked)
        except NotYet:
            await self._rest()
            raise

    async def _beat(self, asked: float) -> None:
        """Check the lease; write the progress that was made, and renew the lease if it is time. Raises `NotYet`."""
        renewal = asked - self._renewed >= self._lease / 3
        progress = self._progress if self._reports else self._reported
        if not renewal and progress == self._reported:
            async with self._database.read() as connection:
                await leases.confirm(connection, self._claim.lease)
            return
        async with self._database.begin() as connection:
            await leases.confirm(connection, self._claim.lease)
            if self._claim.command is Command.CREATE_MODEL and progress != self._reported:
                await self.write_progress(connection)
            if renewal:
                await leases.renew(connection, self._claim.lease, seconds=self._lease, reached=self.downloaded)
        self._reported = progress
        if renewal:
            self._renewed = asked
            self._on_renewal()

    async def _rest(self) -> None:
        """Write the progress of a paused download: nothing arrives any more."""
        if self._progress != _Progress():
            self._progress = replace(self._progress, rate=None)
            async with self._database.begin() as connection:
                await self.write_progress(connection)
