"""One API process's record of what is pulled: folded in memory, and written once a minute for all models together."""

import asyncio
import time
from uuid import UUID

import structlog

from app.db.errors import DatabaseUnreachable
from app.db.session import Database
from app.services import pulls
from app.services.pulls import Pulled, Puller

_EVERY = 60.0
"""Seconds between two writes."""
_SILENCE = 600.0
"""Seconds after which a caller's next request for a file of a model is another pull of it."""
_REMEMBERED = 10_000

log = structlog.get_logger()


class Pulls:
    """Counts pulls: all requests of one caller for the files of one model, until it was silent for `_SILENCE`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pulled: dict[UUID, Pulled] = {}
        self._seen: dict[tuple[UUID, str, str], float] = {}

    def begin(self, model_id: UUID, *, key_id: str, key_name: str | None, address: str, client: str) -> None:
        """Note a request for a file. `client` is what the caller says that it is."""
        this, moment = (model_id, key_id, address), time.monotonic()
        known = self._of(model_id)
        known.last = Puller(key_name, client)
        if moment - self._seen.get(this, -_SILENCE) >= _SILENCE:
            known.pulls += 1
        if len(self._seen) >= _REMEMBERED:
            self._seen.clear()
        self._seen[this] = moment

    def sent(self, model_id: UUID, number: int) -> None:
        """Note bytes that a request noted before was sent."""
        self._of(model_id).sent += number

    async def run(self) -> None:
        """Write every minute, until cancelled."""
        while True:
            await asyncio.sleep(_EVERY)
            await self.flush()

    async def flush(self) -> None:
        """Write what is not written yet; if the database can't be used, a later call does."""
        pulled, self._pulled = self._pulled, {}
        if not pulled:
            return
        try:
            async with self._database.begin() as connection:
                await pulls.record(connection, pulled.values())
        except DatabaseUnreachable as error:
            log.warning("pulls are noted later", reason=str(error), error=error.cause)
            for model_id, one in pulled.items():
                later = self._of(model_id)
                later.pulls += one.pulls
                later.sent += one.sent
                later.last = later.last or one.last

    def _of(self, model_id: UUID) -> Pulled:
        return self._pulled.setdefault(model_id, Pulled(model_id))
