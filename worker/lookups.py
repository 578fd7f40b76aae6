"""Answers `app.depot.lookups`: asks the Hub for the current commit of a revision, without a token or a slot."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import UUID

import structlog
from arq.connections import ArqRedis
from arq.typing import WorkerCoroutine
from arq.worker import Worker, func

from app.depot.lookups import ANSWERS_WITHIN, LATEST, QUEUE
from app.domain.errors import DepotError, OperationError, Refusal, TryAgain
from app.services import models
from app.services.rows import SelectedModel
from worker.commands.work import WorkerContext
from worker.download.protocol import Found, LookupRequest
from worker.jobs import OPTIONS, taken

_AT_ONCE = 4
_KEEP_ANSWER = 10
"""Seconds that an answer is kept for the API to fetch."""
_POLL = 0.5
"""Seconds between polls for a question."""

log = structlog.get_logger()


@asynccontextmanager
async def answering(redis_url: str, context: WorkerContext) -> AsyncIterator[None]:
    """Answer the API's questions during the block."""

    async def latest(_context: dict[Any, Any], model_id: str) -> dict[str, Any]:
        return await _latest(context, UUID(model_id))

    def make(redis: ArqRedis) -> Worker:
        function = func(cast("WorkerCoroutine", latest), name=LATEST)
        return Worker(
            functions=[function],
            redis_pool=redis,
            queue_name=QUEUE,
            keep_result=_KEEP_ANSWER,
            max_jobs=_AT_ONCE,
            poll_delay=_POLL,
            **OPTIONS,
        )

    async with taken(redis_url, make):
        yield


async def _latest(context: WorkerContext, model_id: UUID) -> dict[str, Any]:
    """Return `{"commit": …}`, or `{"message": …, "again": …}`: the reason, and whether asking again may help."""
    try:
        async with asyncio.timeout(ANSWERS_WITHIN):
            async with context.database.read() as connection:
                model = await models.selection(connection, model_id)
            commit = await _ask(context, model)
    except TimeoutError:
        message = (
            f"The Hub at {context.hub_endpoint} did not answer within {ANSWERS_WITHIN:.0f} seconds: ask again later."
        )
        return {"message": message, "again": True}
    except (OperationError, Refusal) as error:
        return {"message": error.message, "again": isinstance(error, TryAgain)}
    log.info("looked a revision up", name=model.name, revision=model.revision, commit=commit)
    return {"commit": commit}


async def _ask(context: WorkerContext, model: SelectedModel) -> str:
    """Ask the Hub in a separate process, as downloads do: it can be killed whatever it waits for."""
    async with context.download_pool.child(downloads=False) as child:
        request = LookupRequest(
            name=model.name,
            revision=model.revision,
            token=None,
            endpoint=context.hub_endpoint,
            redirects_inside=context.redirects_inside,
            lease=2 * ANSWERS_WITHIN,
            stall_window=ANSWERS_WITHIN,
            stall_rate=context.stall_rate,
        )
        child.send(request)
        async for message in child.messages():
            if isinstance(message, Found):
                return message.commit
    raise DepotError("A child ended well and said nothing.")
