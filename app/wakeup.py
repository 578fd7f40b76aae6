"""Wakes the workers, through Redis, when there is something to do.

The work itself is the operation's row, so a lost wake-up only delays it until a worker's next poll. arq carries the
wake-ups; it pickles by default, which would let whoever can write to Redis run code in a worker, so both sides speak JSON.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import structlog
from arq.connections import ArqRedis
from arq.constants import job_key_prefix
from arq.jobs import serialize_job
from arq.utils import timestamp_ms
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError

from app.batcher import Batcher

WAKE = "wake"
"""The name of the only arq function there is."""
QUEUE = "modeldepot:doorbell"
_PATIENCE = 1.0
"""The longest that ringing may hold up a request, in seconds; and, after a failure, how long not to try again."""

log = structlog.get_logger()


def connect(url: str) -> ArqRedis:
    """A pool that connects lazily. `url` may be redis://, rediss:// or unix://; the password may be percent-encoded."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=10,
        timeout=5,
        socket_connect_timeout=2,
        socket_timeout=10,
        # A refused connect is a plain OSError, which redis-py does not retry by itself.
        retry=Retry(ExponentialBackoff(cap=1, base=0.05), 3),
        retry_on_error=[OSError],
    )
    return ArqRedis(
        connection_pool=pool,
        default_queue_name=QUEUE,
        job_serializer=serialize,
        job_deserializer=deserialize,
    )


def serialize(job: dict[str, Any]) -> bytes:
    return json.dumps(job, default=str).encode()


def deserialize(text: bytes) -> dict[str, Any]:
    job: dict[str, Any] = json.loads(text)
    return job


class Wakeup:
    """Wakes one worker, best effort: it never raises and never takes more than a second or, together, two."""

    def __init__(self, redis: ArqRedis) -> None:
        self._redis = redis
        self._mute_until = 0.0
        self._wakeups: Batcher[str, None] = Batcher(self._enqueue)

    async def send(self) -> None:
        await self._wakeups.get(uuid4().hex)

    async def _enqueue(self, job_ids: set[str]) -> Mapping[str, None]:
        """What `enqueue_job` does for each job, in one round trip: ids that were just made up are no one else's."""
        if time.monotonic() < self._mute_until:
            return {}
        now = timestamp_ms()
        job = serialize_job(WAKE, (), {}, None, now, serializer=serialize)
        try:
            async with asyncio.timeout(_PATIENCE), self._redis.pipeline(transaction=True) as pipe:
                for job_id in job_ids:
                    pipe.psetex(job_key_prefix + job_id, self._redis.expires_extra_ms, job)
                pipe.zadd(QUEUE, dict.fromkeys(job_ids, now))
                await pipe.execute()
        except (RedisError, OSError, TimeoutError) as error:
            self._mute_until = time.monotonic() + _PATIENCE
            log.warning("redis can't be reached: workers will find the operation at their next look", error=repr(error))
        return {}

    async def test(self) -> None:
        """Raises `RedisError` or `OSError` when Redis doesn't answer."""
        await self._redis.ping()

    async def close(self) -> None:
        # It was given its pool, so it would leave that open.
        await self._redis.aclose(close_connection_pool=True)
