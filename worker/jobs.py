"""Runs arq's own worker, which takes messages from Redis, and restarts it after Redis was away."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from types import MappingProxyType
from typing import Any

from arq.connections import ArqRedis
from arq.worker import Worker
from redis.exceptions import RedisError

from app.tasks import beside
from app.wakeup import connect, deserialize, serialize

OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "handle_signals": False,
        "max_tries": 1,
        "job_timeout": 30,
        "log_results": False,
        "job_serializer": serialize,
        "job_deserializer": deserialize,
    }
)
"""Options of every arq worker."""
_PATIENCE = 2.0
"""Seconds between attempts to reach Redis."""


@asynccontextmanager
async def taken(
    redis_url: str, make_worker: Callable[[ArqRedis], Worker], away: Callable[[Exception], None] = lambda _: None
) -> AsyncIterator[None]:
    """Run the arq worker that `make_worker` returns during the block; call `away` when Redis fails."""
    async with beside(_take(redis_url, make_worker, away)):
        yield


async def _take(redis_url: str, make_worker: Callable[[ArqRedis], Worker], away: Callable[[Exception], None]) -> None:
    while True:
        redis = connect(redis_url)
        worker = make_worker(redis)
        try:
            try:
                await worker.async_run()
            finally:
                # A failure here must not replace a cancellation: that would be lost.
                with suppress(RedisError, OSError, TimeoutError):
                    await worker.close()
                await redis.aclose(close_connection_pool=True)
        except (RedisError, OSError, TimeoutError) as error:
            away(error)
        await asyncio.sleep(_PATIENCE)
