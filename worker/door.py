"""The worker's end of the doorbell: Redis wakes it through arq, whose own worker does nothing else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import structlog
from arq.connections import ArqRedis
from arq.typing import WorkerCoroutine
from arq.worker import Function, Worker, func
from redis.exceptions import RedisError

from app import queue
from app.queue import QUEUE, WAKE
from worker.ending import end
from worker.runner import Runner

_PATIENCE = 2.0
"""Seconds before another try to reach Redis."""
_GOODBYE = 0.5
"""Seconds that closing its connections may take."""

log = structlog.get_logger()


@asynccontextmanager
async def answered(redis_url: str, runner: Runner) -> AsyncIterator[None]:
    """Wake the runner when it rings. While Redis is away the runner's own looks find what there is."""
    answering = asyncio.create_task(_answer(redis_url, runner))
    try:
        yield
    finally:
        await end(answering, patience=_GOODBYE)


async def _answer(redis_url: str, runner: Runner) -> None:
    async def wake(_context: dict[Any, Any]) -> None:
        runner.wake()

    while True:
        redis = queue.connect(redis_url)
        worker = _bell(redis, func(cast("WorkerCoroutine", wake), name=WAKE), runner)
        try:
            try:
                await worker.async_run()
            finally:
                # What fails here must not take the place of a cancellation: it would be lost.
                with suppress(RedisError, OSError, TimeoutError):
                    await worker.close()
                await redis.aclose(close_connection_pool=True)
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("redis can't be reached: looking at the database only", error=type(error).__name__)
        await asyncio.sleep(_PATIENCE)


class _Bell(Worker):
    """An arq worker that leaves the bell to others while its runner has no slot for any model.

    Each change in how many rings there are wakes it nevertheless: it may be for one of its other slots.
    """

    runner: Runner
    rings = 0

    async def _poll_iteration(self) -> None:
        self.allow_pick_jobs = self.runner.has_free_slot
        before, self.rings = self.rings, 0 if self.allow_pick_jobs else await self.pool.zcard(QUEUE)
        if self.rings > before:
            self.runner.wake()
        await super()._poll_iteration()


def _bell(redis: ArqRedis, wake: Function, runner: Runner) -> Worker:
    bell = _Bell(
        functions=[wake],
        redis_pool=redis,
        queue_name=QUEUE,
        handle_signals=False,
        keep_result=0,
        max_tries=1,
        job_timeout=30,
        poll_delay=0.1,
        log_results=False,
        job_serializer=queue.serialize,
        job_deserializer=queue.deserialize,
    )
    bell.runner = runner
    return bell
