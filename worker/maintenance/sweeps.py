"""Ends operations that are overdue and deletes rows that are old, in small transactions: others have to write, too."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from app.db.session import Database
from app.services import audit, declarations, models, operations, sessions, webhooks
from worker.lanes import RunnerOptions

_AT_ONCE = 200
"""Rows that one transaction deletes: some milliseconds on SQLite, which has one writer."""
_LATE = 20
"""Operations that one transaction ends: each takes several statements, so some milliseconds."""
_STEPS = 25
"""Most transactions of one kind in a row: a worker has to announce itself in between. The rest is for the next pass."""
_PAUSE = 0.1
"""Seconds between two of them: who waits for SQLite's lock looks for it every tenth of a second."""

log = structlog.get_logger()


async def expire(database: Database) -> None:
    """Time out operations that are overdue."""
    if expired := await _in_steps(database, operations.expire, _LATE):
        log.info("timed operations out", operations=expired)


async def forget(database: Database, options: RunnerOptions) -> None:
    """Delete what was kept for long enough, models that failed at once, and deployments whose pulls have stopped."""
    purged = await _in_steps(database, partial(operations.purge, retention=options.retention))
    forgotten = await _in_steps(database, partial(audit.purge, retention=options.audit_retention))
    await _in_steps(database, sessions.purge)
    await _in_steps(database, partial(webhooks.purge, retention=options.webhook_retention))
    if purged or forgotten:
        log.info("forgot what is old", operations=purged, audit=forgotten)
    if dismissed := await _in_steps(database, partial(models.dismiss, retention=options.error_retention)):
        log.info("forgot models that failed before a byte arrived", models=dismissed)
    if expired := await _in_steps(database, partial(declarations.expire, unseen=options.deployment_expiry)):
        log.info("forgot deployments that pulls declared and that pulled no more", deployments=expired)


async def _in_steps(database: Database, step: Callable[..., Awaitable[int]], limit: int = _AT_ONCE) -> int:
    """Repeat `step`, each time in a transaction of its own, until it finds less than `limit`. Return what it found."""
    found = 0
    for _ in range(_STEPS):
        async with database.begin() as connection:
            number = await step(connection, limit=limit)
        found += number
        if number < limit:
            break
        await asyncio.sleep(_PAUSE)
    return found
