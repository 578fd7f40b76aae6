"""Releases the leases of dead workers of this host: a restarted worker need not wait for its own."""

import os

import structlog

from app.db.session import Database
from app.services import leases
from app.services.workers import Presence

log = structlog.get_logger()


async def give_up_dead(database: Database, presence: Presence) -> None:
    """Release leases of dead workers of this host, above all of the previous worker in this container.

    Call it before the worker claims anything: in a container it has the name of the previous one.
    """
    async with database.read() as connection:
        owners = await leases.owners(connection, presence.host)
    if dead := [owner for owner in owners if owner == presence.name or not _is_alive(owner)]:
        async with database.begin() as connection:
            given_up = await leases.give_up(connection, dead)
        log.info("gave up the leases of dead workers of this host", workers=dead, leases=given_up)


def _is_alive(owner: str) -> bool:
    """Whether the worker of this host with this name may be alive."""
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
