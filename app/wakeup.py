"""Wakes the workers, through Redis, when there is something to do.

The work itself is the operation's row, so a lost wake-up only delays it until a worker's next poll. arq carries the
wake-ups; its default, pickle, would let anyone who can write to Redis run code in a worker, so both sides use JSON.
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
"""The name of this queue's only arq function."""
QUEUE = "modeldepot:doorbell"
_PATIENCE = 1.0
"""Seconds that a wake-up may delay a request at most; also the pause after a failure before the next try."""

log = structlog.get_logger()


def connect(url: str) -> ArqRedis:
    """Return a lazily connecting client. `url`: redis://, rediss:// or unix://; its password may be percent-encoded."""
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
    """Wakes one worker, best effort: never raises, and takes at most 1 s, or 2 s behind a running batch."""

    def __init__(self, redis: ArqRedis) -> None:
        self._redis = redis
        self._mute_until = 0.0
        self._wakeups: Batcher[str, None] = Batcher(self._enqueue)

    async def send(self) -> None:
        await self._wakeups.get(uuid4().hex)

    async def _enqueue(self, job_ids: set[str]) -> Mapping[str, None]:
        """Do what `enqueue_job` does, for all jobs in one round trip: fresh ids need no check for duplicates."""
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
        """Raise `RedisError` or `OSError` if Redis doesn't answer."""
        await self._redis.ping()

    async def close(self) -> None:
        # By default it would leave open a pool that was passed to it.
        await self._redis.aclose(close_connection_pool=True)
