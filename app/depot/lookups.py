"""Questions about the Hub that a worker answers while the client waits: the API needs no internet access.

They go through Redis, as arq jobs on their own queue, so they delay no download. A question that no worker takes in time
is dropped: unlike an operation, it need not be done.
"""

import asyncio
import hashlib
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from arq.connections import ArqRedis
from arq.jobs import ResultNotFound, SerializationError
from redis.exceptions import RedisError

from app.domain.errors import BadRequest, Conflict, Forbidden, NoAnswer, NotFound, Reason, Refusal
from app.domain.repositories import Selection
from app.sealing import Sealer


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of question: the arq function's name, and seconds.

    A worker waits `answers_within` for the Hub. An answer is reused while it is `fresh`, so that no client can cause
    constant queries of the Hub.
    """

    function: str
    answers_within: float
    fresh: float

    @property
    def patience(self) -> float:
        """Seconds until an answer, including the wait for a free worker."""
        return self.answers_within + 1.5


LATEST = Kind("latest", answers_within=5, fresh=2)
"""Takes a model's id, and maybe a sealed token, and returns `{"commit": …}`.

Each kind may also return `{"message": …, "again": …, "reason": …}`.
"""
PLAN = Kind("plan", answers_within=8, fresh=5)
"""Takes a selection with a sealed token, which belongs to the job's id, and returns `{"plan": …}`."""
SEARCH = Kind("search", answers_within=8, fresh=60)
"""Takes words and a limit, and returns `{"models": …}`."""
QUEUE = "modeldepot:lookups"
_REFUSED_FRESH = 2.0
"""Seconds for which the reason of a missing answer is reused."""
_POLL = 0.1
_PARTING = 1.0
"""Seconds that withdrawing a query may take."""
_MOST = 50
"""Questions at a time."""
_REFUSALS: Mapping[str, type[Refusal]] = {
    Reason.NOT_FOUND: NotFound,
    Reason.FORBIDDEN: Forbidden,
    Reason.INCORRECT: BadRequest,
    Reason.UNSUPPORTED: BadRequest,
}
"""What the API answers where the Hub's answer is no; `NoAnswer` for other reasons."""


class Lookups:
    """Asks the workers. Without a `sealer` no token can be sent; `patience` replaces that of every kind."""

    def __init__(self, redis: ArqRedis, sealer: Sealer | None = None, patience: float | None = None) -> None:
        self._redis, self._sealer, self._patience = redis, sealer, patience
        self._asked: dict[Hashable, asyncio.Task[Mapping[str, Any]]] = {}

    async def latest(self, model_id: UUID, token: str | None = None) -> str:
        """Return the commit that the model's branch or tag is at on the Hub now.

        Raises `NoAnswer` while it can't be determined, and `Conflict` if the Hub does not tell it to this token.
        """
        job_id = uuid4().hex
        asked = (str(model_id), self._seal(token, job_id)) if token else (str(model_id),)
        match await self._answer(LATEST, (model_id, _whose(token)), *asked, job_id=job_id):
            case {"commit": str(commit)}:
                return commit
            case {"message": str(message), "again": False, "reason": str(reason)}:
                raise Conflict(message, reason=Reason(reason) if reason in _REFUSALS else None)
            case answer:
                raise _refusal(answer)

    async def plan(self, selection: Selection, token: str | None) -> Mapping[str, Any]:
        """Return what fetching the selection with this Hub token would do. Raises what `_REFUSALS` has, or `NoAnswer`."""
        job_id = uuid4().hex
        asked = {
            "name": selection.name,
            "revision": selection.revision,
            "include": selection.include,
            "exclude": selection.exclude,
            "sealed_token": self._seal(token, job_id) if token else None,
        }
        match await self._answer(PLAN, (selection.fingerprint, _whose(token)), asked, job_id=job_id):
            case {"plan": dict(plan)}:
                return plan
            case answer:
                raise _refusal(answer)

    async def search(self, words: str, limit: int) -> Sequence[Mapping[str, Any]]:
        """Return at most `limit` of the Hub's models by the words in their names. Raises as `plan` does."""
        match await self._answer(SEARCH, (words, limit), words, limit):
            case {"models": list(models)}:
                return models
            case answer:
                raise _refusal(answer)

    async def close(self) -> None:
        for asked in self._asked.values():
            asked.cancel()
        await self._redis.aclose(close_connection_pool=True)

    def _seal(self, token: str, job_id: str) -> str:
        if self._sealer is None:
            raise ValueError("a token can't be sent without a sealer")
        return self._sealer.seal(token, belongs_to=job_id)

    async def _answer(
        self, kind: Kind, what: Hashable, *arguments: Any, job_id: str | None = None
    ) -> Mapping[str, Any]:
        """Return an answer that all who ask for the same `what` share. Raises `NoAnswer` if too many are asked for."""
        key = kind, what
        asked = self._asked.get(key)
        if asked is None:
            if sum(not other.done() for other in self._asked.values()) >= _MOST:
                raise NoAnswer(f"The Hub is being asked about {_MOST} models at the moment: ask again in some seconds.")
            asked = self._asked[key] = asyncio.create_task(self._ask(kind, arguments, job_id))
            asked.add_done_callback(lambda done: self._forget_later(key, kind, done))
        # A client that disconnects must not cancel the others' query.
        return await asyncio.shield(asked)

    def _forget_later(self, key: Hashable, kind: Kind, done: asyncio.Task[Mapping[str, Any]]) -> None:
        good = not done.cancelled() and "message" not in done.result()
        seconds = kind.fresh if good else min(kind.fresh, _REFUSED_FRESH)
        asyncio.get_running_loop().call_later(seconds, self._asked.pop, key, None)

    async def _ask(self, kind: Kind, arguments: Sequence[Any], job_id: str | None) -> Mapping[str, Any]:
        """Return a worker's answer, or why there is none, in the same form."""
        job, patience = None, self._patience or kind.patience
        try:
            async with asyncio.timeout(patience):
                job = await self._redis.enqueue_job(
                    kind.function, *arguments, _job_id=job_id, _queue_name=QUEUE, _expires=patience
                )
                answer: Mapping[str, Any] = await job.result(poll_delay=_POLL) if job else {}
                return answer
        except TimeoutError:
            problem = (
                "No worker answered in time: either none runs, or those that run wait for the Hub for others. "
                "Look at the workers, then ask again."
            )
        except (RedisError, OSError):
            problem = (
                "Redis can't be reached, through which workers are asked. Look at whether it runs, then ask again."
            )
        except (ResultNotFound, SerializationError):
            problem = "A worker failed to ask the Hub; its log says why."
        if job:
            with suppress(RedisError, OSError):
                async with asyncio.timeout(_PARTING):
                    await self._redis.zrem(QUEUE, job.job_id)
        return {"message": problem, "again": True, "reason": Reason.UNAVAILABLE}


def _whose(token: str | None) -> bytes | None:
    """Return what marks an answer as this token's: what one token opens is for its holder only."""
    return hashlib.sha256(token.encode()).digest() if token else None


def _refusal(answer: Mapping[str, Any]) -> Refusal:
    """Return what to raise for an answer that does not tell what was asked for."""
    match answer:
        case {"message": str(message), "reason": str(reason)} if reason in _REFUSALS:
            return _REFUSALS[reason](message, reason=Reason(reason))
        case {"message": str(message), "after": float(after)}:
            return NoAnswer(message, after=after)
        case {"message": str(message)}:
            return NoAnswer(message)
    return NoAnswer("A worker's answer can't be read: run the API and the workers in the same version.")
