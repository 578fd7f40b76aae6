"""Leases of workers of this host that are dead: a worker that is started again need not wait for its own."""

import os

import structlog

from app.db.session import Database
from app.services import leases
from app.services.workers import Presence

log = structlog.get_logger()


async def give_up_dead(database: Database, presence: Presence) -> None:
    """Release what workers of this host held that are dead: the one before this one in its container, above all.

    To be called before the worker claims anything: in a container it has the name of the one before it.
    """
    async with database.read() as connection:
        owners = await leases.owners(connection, presence.host)
    if dead := [owner for owner in owners if owner == presence.name or not _is_alive(owner)]:
        async with database.begin() as connection:
            given_up = await leases.give_up(connection, dead)
        log.info("gave up the leases of dead workers of this host", workers=dead, leases=given_up)


def _is_alive(owner: str) -> bool:
    """Whether a worker of this host, by its name, may be alive."""
    pid = owner.rpartition(":")[2]
    if not pid.isdecimal():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True
