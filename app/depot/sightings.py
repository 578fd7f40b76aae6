"""Renews and declares deployments when their models are pulled, with at most one write a minute for each."""

import time
from dataclasses import dataclass
from uuid import UUID

import structlog

from app.db.errors import DatabaseUnreachable
from app.db.session import Database
from app.domain.commands import Command
from app.domain.errors import Conflict
from app.services import audit, declarations
from app.services.audit import Act

_REMEMBERED = 10_000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Pull:
    """A request for a model with a key. `deployment` is the name that the pull declares, if any."""

    model_id: UUID
    key_id: str
    key_name: str
    deployment: str | None
    address: str
    request_id: str


class Sightings:
    """One API process's record of what was pulled with which key."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._noted_until: dict[tuple[UUID, str, str | None], float] = {}

    async def pulled(self, pull: Pull) -> None:
        """Note a pull. It fails for no pull: what can't be written is logged, and tried again by a later one."""
        this, begun = (pull.model_id, pull.key_id, pull.deployment), time.monotonic()
        if begun < self._noted_until.get(this, 0.0):
            return
        if len(self._noted_until) >= _REMEMBERED:
            self._noted_until.clear()
        # Before the write: concurrent requests of the same pull go on without it.
        self._noted_until[this] = begun + declarations.RENEWED_EVERY
        try:
            await self._write(pull)
        except DatabaseUnreachable as error:
            self._noted_until.pop(this, None)
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
