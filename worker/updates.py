"""Looks up, from time to time, whether the branches of the ready models have moved on the Hub.

Every worker does, one branch after another. A claim in the database keeps two from looking the same one up. No token is
sent, since none is kept: of a private repository the Hub tells nothing.
"""

import asyncio

import structlog

from app.db.errors import DatabaseUnreachable
from app.depot import lookups
from app.domain.errors import DepotError, Failed
from app.services import updates
from app.services.updates import Branch
from worker.commands.work import WorkerContext
from worker.lookups import look_up

_BETWEEN = 1.0
"""Seconds between two branches: the Hub limits the rate of requests."""
_IDLE = 60.0
"""Most seconds between two searches for a branch that is due."""
_AWAY = 300.0
"""Seconds until the Hub is asked again after it could not be."""

log = structlog.get_logger()


async def look(context: WorkerContext, every: float) -> None:
    """Look each branch up `every` so many seconds, until cancelled; never if that is 0."""
    while every:
        wait = min(_IDLE, every)
        try:
            async with context.database.begin() as connection:
                branch = await updates.claim(connection, every=every)
            if branch is not None:
                wait = min(wait, _BETWEEN) if await _look(context, branch) else min(_AWAY, every)
        except DatabaseUnreachable as error:
            log.warning("the database can't be used", reason=str(error), error=error.cause)
        await asyncio.sleep(wait)


async def _look(context: WorkerContext, branch: Branch) -> bool:
    """Return whether the Hub can be asked about others."""
    try:
        async with asyncio.timeout(lookups.LATEST.answers_within):
            await look_up(context, branch)
    except Failed as error:
        log.info("whether a branch moved is not told", reason=error.message, **branch._asdict())
    except (DepotError, TimeoutError) as error:
        reason = str(error) or "It does not answer in time."
        log.info("the Hub can't be asked whether branches moved", reason=reason, **branch._asdict())
        return False
    return True
