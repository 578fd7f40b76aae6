"""What downloads are at, file by file: workers tell it through Redis, for people to watch. Nothing depends on it.

A row in the database, written every second, would cost more than it is worth: what is told here may be lost.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

import structlog
from arq.connections import ArqRedis
from redis.exceptions import RedisError

from app.tasks import beside

_KEY = "modeldepot:arriving:"
_LASTS = 10
"""Seconds after which what was told is forgotten."""
_INTERVAL = 2.0
"""Seconds between two tellings, and the first two samples of the rate."""
_MOST_SAMPLES = 120
_PATIENCE = 1.0
"""Seconds that Redis has to answer."""

log = structlog.get_logger()


class ArrivingFile(NamedTuple):
    """A file of which `arrived` of `size` bytes are here."""

    path: str
    size: int
    arrived: int


@dataclass(slots=True)
class Arrival:
    """What a download is at. `rates`: bytes per second, a sample each `every` seconds, from its attempt's beginning."""

    files: Sequence[ArrivingFile] = ()
    rates: list[int] = field(default_factory=list)
    every: float = _INTERVAL

    def sample(self, rate: int) -> None:
        """Add a sample. Of many, two become one: the picture of a long download is as large as that of a short one."""
        self.rates.append(rate)
        if len(self.rates) >= _MOST_SAMPLES:
            self.rates = [sum(pair) // 2 for pair in zip(self.rates[::2], self.rates[1::2], strict=False)]
            self.every *= 2


@dataclass(slots=True)
class _Noted:
    arrival: Arrival
    rate: int = 0
    noted_at: float = 0.0
    sampled_at: float = 0.0


class Arrivals:
    """Tells during `telling`, and asks."""

    def __init__(self, redis: ArqRedis, interval: float = _INTERVAL) -> None:
        self._redis, self._interval = redis, interval
        self._noted: dict[UUID, _Noted] = {}

    def note(self, model_id: UUID, rate: int, files: Sequence[Sequence[str | int]]) -> None:
        """Note what a download of this worker is at."""
        noted = self._noted.setdefault(model_id, _Noted(Arrival()))
        noted.arrival.files = [ArrivingFile(*one) for one in files]  # type: ignore[arg-type]  # as it came from JSON
        noted.rate, noted.noted_at = rate, time.monotonic()

    def telling(self) -> AbstractAsyncContextManager[None]:
        """Tell what is noted during the block."""
        return beside(self._run())

    async def look(self, model_id: UUID) -> Arrival | None:
        """Return what a worker told last; None if there is nothing, or Redis does not answer."""
        try:
            async with asyncio.timeout(_PATIENCE):
                told = await self._redis.get(f"{_KEY}{model_id}")
            found = json.loads(told or "null")
            return found and Arrival([ArrivingFile(*one) for one in found["files"]], found["rates"], found["every"])
        except (RedisError, OSError, TimeoutError, ValueError, TypeError, LookupError):
            return None

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            now = time.monotonic()
            self._noted = {key: noted for key, noted in self._noted.items() if now - noted.noted_at < _LASTS}
            for noted in self._noted.values():
                if now - noted.sampled_at >= noted.arrival.every * 0.9:
                    noted.arrival.sample(noted.rate)
                    noted.sampled_at = now
            if self._noted:
                await self._tell()

    async def _tell(self) -> None:
        try:
            async with asyncio.timeout(_PATIENCE), self._redis.pipeline(transaction=False) as pipe:
                for model_id, noted in self._noted.items():
                    arrival = noted.arrival
                    told = {"files": arrival.files, "rates": arrival.rates, "every": arrival.every}
                    pipe.setex(f"{_KEY}{model_id}", _LASTS, json.dumps(told))
                await pipe.execute()
        except (RedisError, OSError, TimeoutError) as error:
            log.debug("redis can't be told what arrives", error=repr(error))
