"""Wakes the runner at messages from Redis, through an arq worker that does nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import structlog
from arq.connections import ArqRedis
from arq.typing import WorkerCoroutine
from arq.worker import Worker, func

from app.wakeup import QUEUE, WAKE
from worker.jobs import OPTIONS, taken
from worker.runner import Runner

log = structlog.get_logger()


@asynccontextmanager
async def listening(redis_url: str, runner: Runner) -> AsyncIterator[None]:
    """Wake the runner at each wake-up. While Redis is away, the runner's own polls find new operations."""

    async def wake(_context: dict[Any, Any]) -> None:
        runner.wake()

    def make(redis: ArqRedis) -> Worker:
        function = func(cast("WorkerCoroutine", wake), name=WAKE)
        return _Listener(
            runner, functions=[function], redis_pool=redis, queue_name=QUEUE, keep_result=0, poll_delay=0.1, **OPTIONS
        )

    async with taken(redis_url, make, _warn):
        yield


class _Listener(Worker):
    """An arq worker that leaves wake-ups to other workers while its runner has no free slot for any model size.

    Each additional waiting wake-up still wakes the runner: it may be for one of its other slots.
    """

    def __init__(self, runner: Runner, **options: Any) -> None:
        super().__init__(**options)
        self.runner = runner
        self.waiting = 0

    async def _poll_iteration(self) -> None:
        self.allow_pick_jobs = self.runner.has_free_slot
        before, self.waiting = self.waiting, 0 if self.allow_pick_jobs else await self.pool.zcard(QUEUE)
        if self.waiting > before:
            self.runner.wake()
        await super()._poll_iteration()


def _warn(error: Exception) -> None:
    log.warning("redis can't be reached: looking at the database only", error=type(error).__name__)
