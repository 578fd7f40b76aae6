"""Hub queries that a worker answers while the client waits: the API needs no internet access.

They go through Redis, as arq jobs on their own queue, so they delay no download. A query that no worker takes in time
is dropped: unlike an operation, it need not be done.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from uuid import UUID

from arq.connections import ArqRedis
from arq.jobs import ResultNotFound, SerializationError
from redis.exceptions import RedisError

from app.domain.errors import Conflict, NoAnswer

LATEST = "latest"
"""The arq function that takes a model's id and returns `{"commit": …}`, or `{"message": …, "again": …}`."""
QUEUE = "modeldepot:lookups"
ANSWERS_WITHIN = 5.0
"""Seconds that a worker waits for the Hub."""
_PATIENCE = ANSWERS_WITHIN + 2
_FRESH = 2.0
"""Seconds for which an answer is reused, so that no client can cause constant Hub queries."""
_POLL = 0.1
_PARTING = 1.0
"""Seconds that withdrawing a query may take."""
_MOST = 50
"""Models that are queried at a time."""


class Lookups:
    """Queries the workers. `patience`: seconds until an answer, including the wait for a free worker."""

    def __init__(self, redis: ArqRedis, patience: float = _PATIENCE) -> None:
        self._redis, self._patience = redis, patience
        self._asked: dict[UUID, asyncio.Task[Mapping[str, Any]]] = {}

    async def latest(self, model_id: UUID) -> str:
        """Return the commit that the model's revision is at on the Hub now.

        Raises `NoAnswer` while it can't be determined, and `Conflict` if the Hub does not tell it.
        """
        asked = self._asked.get(model_id)
        if asked is None:
            if sum(not other.done() for other in self._asked.values()) >= _MOST:
                raise NoAnswer(f"The Hub is being asked about {_MOST} models at the moment: ask again in some seconds.")
            asked = self._asked[model_id] = asyncio.create_task(self._ask(model_id))
            asked.add_done_callback(lambda _: self._forget_later(model_id))
        # A client that disconnects must not cancel the others' query.
        match await asyncio.shield(asked):
            case {"commit": str(commit)}:
                return commit
            case {"message": str(message), "again": False}:
                raise Conflict(message)
            case {"message": str(message)}:
                raise NoAnswer(message)
        raise NoAnswer("A worker's answer can't be read: run the API and the workers in the same version.")

    async def close(self) -> None:
        for asked in self._asked.values():
            asked.cancel()
        await self._redis.aclose(close_connection_pool=True)

    def _forget_later(self, model_id: UUID) -> None:
        asyncio.get_running_loop().call_later(_FRESH, self._asked.pop, model_id, None)

    async def _ask(self, model_id: UUID) -> Mapping[str, Any]:
        """Return a worker's answer, or why there is none, in the same form."""
        job = None
        try:
            async with asyncio.timeout(self._patience):
                job = await self._redis.enqueue_job(LATEST, str(model_id), _queue_name=QUEUE, _expires=self._patience)
                answer: Mapping[str, Any] = await job.result(poll_delay=_POLL) if job else {}
                return answer
        except TimeoutError:
            problem = (
                f"No worker answered within {self._patience:.0f} seconds. Look at whether one runs, then ask again."
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
        return {"message": problem, "again": True}
