"""Answers `app.depot.lookups`: asks the Hub for a revision's commit, for a plan or for models by name, without a slot."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast
from uuid import UUID

import structlog
from arq.connections import ArqRedis
from arq.typing import WorkerCoroutine
from arq.worker import Worker, func

from app.depot import lookups
from app.domain.errors import DepotError, Failed, OperationError, Reason, Refusal, TryAgain
from app.sealing import CannotOpen
from app.services import models, updates
from app.services.updates import Branch
from worker import plans
from worker.commands.work import WorkerContext
from worker.download.protocol import (
    Described,
    Found,
    LookupRequest,
    Matches,
    Message,
    PlanRequest,
    Request,
    SearchRequest,
)
from worker.jobs import OPTIONS, taken

_AT_ONCE = 8
_KEEP_ANSWER = 10
"""Seconds that an answer is kept for the API to fetch."""
_POLL = 0.25
"""Seconds between polls for a question."""

log = structlog.get_logger()

_Answer = TypeVar("_Answer", bound=Message)


@asynccontextmanager
async def answering(redis_url: str, context: WorkerContext) -> AsyncIterator[None]:
    """Answer the API's questions during the block."""

    async def latest(job: dict[Any, Any], model_id: str, sealed_token: str | None = None) -> dict[str, Any]:
        return await _within(context, lookups.LATEST, _latest(context, job["job_id"], UUID(model_id), sealed_token))

    async def plan(job: dict[Any, Any], asked: dict[str, Any]) -> dict[str, Any]:
        return await _within(context, lookups.PLAN, _plan(context, job["job_id"], **asked))

    async def search(_job: dict[Any, Any], words: str, limit: int) -> dict[str, Any]:
        return await _within(context, lookups.SEARCH, _search(context, words, limit))

    answers = {lookups.LATEST: latest, lookups.PLAN: plan, lookups.SEARCH: search}

    def make(redis: ArqRedis) -> Worker:
        return Worker(
            functions=[
                func(cast("WorkerCoroutine", function), name=kind.function, keep_result=_KEEP_ANSWER)
                for kind, function in answers.items()
            ],
            redis_pool=redis,
            queue_name=lookups.QUEUE,
            keep_result=_KEEP_ANSWER,
            max_jobs=_AT_ONCE,
            poll_delay=_POLL,
            **OPTIONS,
        )

    async with taken(redis_url, make):
        yield


async def _within(context: WorkerContext, kind: lookups.Kind, answer: Awaitable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the answer, or `{"message": …, "again": …, "reason": …, "after": …}`: why not, and when to ask again."""
    try:
        async with asyncio.timeout(kind.answers_within):
            return {**await answer}
    except TimeoutError:
        message = f"The Hub at {context.hub_endpoint} did not answer within {kind.answers_within:.0f} seconds: ask again later."
        return {"message": message, "again": True, "reason": Reason.UNAVAILABLE}
    except OperationError as error:
        again = isinstance(error, TryAgain)
        after = error.after if isinstance(error, TryAgain) else None
        return {"message": error.message, "again": again, "reason": error.reason, "after": after}
    except Refusal as error:
        return {"message": error.message, "again": False, "reason": Reason.CONFLICT}


async def look_up(context: WorkerContext, branch: Branch, token: str | None = None) -> str:
    """Return the commit that a branch or tag is at on the Hub, once it is written. Raises `OperationError`."""
    given = _common(context, lookups.LATEST, token)
    found = await _ask(context, LookupRequest(name=branch.name, revision=branch.revision, **given), Found)
    async with context.database.begin() as connection:
        await updates.found(connection, branch, found.commit)
    log.info("looked a revision up", name=branch.name, revision=branch.revision, commit=found.commit)
    return found.commit


async def _latest(context: WorkerContext, job_id: str, model_id: UUID, sealed: str | None) -> Mapping[str, Any]:
    async with context.database.read() as connection:
        model = await models.selection(connection, model_id)
    branch = Branch(model.name, models.branch_of(model))
    return {"commit": await look_up(context, branch, _opened(context, job_id, sealed))}


async def _plan(
    context: WorkerContext,
    job_id: str,
    *,
    name: str,
    revision: str,
    include: list[str],
    exclude: list[str],
    sealed_token: str | None,
) -> Mapping[str, Any]:
    given = _common(context, lookups.PLAN, _opened(context, job_id, sealed_token))
    request = PlanRequest(name=name, revision=revision, include=include, exclude=exclude, **given)
    described = await _ask(context, request, Described)
    log.info("planned a download", name=name, revision=revision, files=len(described.selected))
    return {"plan": await plans.plan(context, described)}


async def _search(context: WorkerContext, words: str, limit: int) -> Mapping[str, Any]:
    given = _common(context, lookups.SEARCH, None)
    found = await _ask(context, SearchRequest(words=words, limit=limit, **given), Matches)
    return {"models": found.models}


def _common(context: WorkerContext, kind: lookups.Kind, token: str | None) -> dict[str, Any]:
    """Return what all requests to a process have."""
    return {
        "token": token,
        "endpoint": context.hub_endpoint,
        "redirects_inside": context.redirects_inside,
        "lease": 2 * kind.answers_within,
        "stall_window": kind.answers_within,
        "stall_rate": context.stall_rate,
    }


def _opened(context: WorkerContext, job_id: str, sealed: str | None) -> str | None:
    if sealed is None:
        return None
    try:
        return context.sealer.open(sealed, belongs_to=job_id)
    except CannotOpen as error:
        message = f"The Hub token can't be opened ({error}). Give the worker the same DEPOT_SECRET_KEY as the API."
        raise Failed(Reason.FAULT, message) from None


async def _ask(context: WorkerContext, request: Request, kind: type[_Answer]) -> _Answer:
    """Ask the Hub in a separate process, as downloads do: it can be killed whatever it waits for."""
    async with context.download_pool.child(downloads=False) as child:
        child.send(request)
        async for message in child.messages():
            if isinstance(message, kind):
                return message
    raise DepotError("A child ended well and said nothing.")
