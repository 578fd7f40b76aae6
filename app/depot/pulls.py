"""One API process's record of what is pulled by name: counts in the models' rows, and deployments that pulls show."""

import asyncio
import math
import time
from dataclasses import dataclass
from uuid import UUID

import structlog

from app.db.errors import DatabaseUnreachable
from app.db.session import Database
from app.domain.commands import Command
from app.domain.errors import Conflict
from app.services import audit, declarations, pulls
from app.services.audit import Act
from app.services.pulls import Pulled, Puller

_EVERY = 60.0
"""Seconds between two writes of the counts."""
_SILENCE = 600.0
"""Seconds after which a caller's next request for a file of a model is another pull of it."""
_REMEMBERED = 10_000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Pull:
    """A request for a file of a model. Without a key, `key_id` is empty and `key_name` None.

    `deployment` is the name that the pull declares, if any. `client` is what the caller says that it is.
    """

    model_id: UUID
    key_id: str
    key_name: str | None
    deployment: str | None
    address: str
    client: str
    request_id: str


class Pulls:
    """Counts pulls, and renews and declares the deployments that pull.

    A pull is all requests of one caller for the files of one model, until it was silent for `_SILENCE`. Counts are folded
    in memory, and written once a minute for all models together. A deployment is written at once, at most once a minute.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pulled: dict[UUID, Pulled] = {}
        self._callers, self._deployments = _Times(), _Times()

    async def begin(self, pull: Pull) -> None:
        """Note a request. It fails for none: what can't be written is logged, and tried again by a later one."""
        self._count(pull)
        if pull.key_id:
            await self._show(pull)

    def sent(self, model_id: UUID, number: int) -> None:
        """Note bytes that a request noted before was sent."""
        self._of(model_id).sent += number

    async def run(self) -> None:
        """Write the counts every minute, until cancelled."""
        while True:
            await asyncio.sleep(_EVERY)
            await self.flush()

    async def flush(self) -> None:
        """Write the counts that are not written yet; if the database can't be used, a later call does."""
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

    def _count(self, pull: Pull) -> None:
        known = self._of(pull.model_id)
        known.last = Puller(pull.key_name, pull.client)
        caller = (pull.model_id, pull.key_id, pull.address)
        if self._callers.since(caller) >= _SILENCE:
            known.pulls += 1
        self._callers.note(caller)

    async def _show(self, pull: Pull) -> None:
        """Renew the deployments that this is a pull of, and declare the one that it names."""
        this = (pull.model_id, pull.key_id, pull.deployment)
        if self._deployments.since(this) < declarations.RENEWED_EVERY:
            return
        # Before the write: concurrent requests of the same pull go on without it.
        self._deployments.note(this)
        try:
            await self._write(pull)
        except DatabaseUnreachable as error:
            self._deployments.forget(this)
            log.warning("a pull is noted later", reason=str(error), error=error.cause)
        except Conflict as refusal:
            log.warning("a pull declares no deployment", key=pull.key_id, why=refusal.message)

    async def _write(self, pull: Pull) -> None:
        async with self._database.begin() as connection:
            await declarations.seen(connection, pull.key_id, pull.model_id)
            if pull.deployment is None:
                return
            made = await declarations.declare_by_pull(
                connection, pull.model_id, pull.deployment, pull.key_id, request_id=pull.request_id
            )
            if made is not None:
                act = Act(pull.key_id, Command.CREATE_DEPLOYMENT, pull.address, pull.request_id, key_name=pull.key_name)
                await audit.accept(connection, act, made)

    def _of(self, model_id: UUID) -> Pulled:
        return self._pulled.setdefault(model_id, Pulled(model_id))


class _Times:
    """When each of some thousand callers or deployments was last noted."""

    def __init__(self) -> None:
        self._at: dict[tuple[UUID, str, str | None], float] = {}

    def since(self, this: tuple[UUID, str, str | None]) -> float:
        """Return the seconds since then."""
        return time.monotonic() - self._at.get(this, -math.inf)

    def note(self, this: tuple[UUID, str, str | None]) -> None:
        if len(self._at) >= _REMEMBERED:
            self._at.clear()
        self._at[this] = time.monotonic()

    def forget(self, this: tuple[UUID, str, str | None]) -> None:
        self._at.pop(this, None)
