"""The worker's end of the doorbell."""

import asyncio
import gc
from dataclasses import dataclass, field
from typing import cast

import pytest

from app.wakeup import Wakeup, connect
from tests.processes import BUSY
from worker.runner import Runner
from worker.wakeup import listening

_ENDINGS = 40
pytestmark = [
    pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning"),  # by arq, of redis-py
    # redis-py leaves a connection that is being opened to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]


@dataclass
class Sleeper:
    """What the door needs of a runner."""

    has_free_slot: bool = True
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        self.woken.set()


async def test_a_ring_wakes_who_is_free(redis_url: str) -> None:
    free, busy = Sleeper(), Sleeper(has_free_slot=False)
    bell = Wakeup(connect(redis_url))
    async with (
        asyncio.timeout(BUSY),
        listening(redis_url, cast("Runner", busy)),
        listening(redis_url, cast("Runner", free)),
    ):
        for _ in range(5):
            await bell.send()
            await free.woken.wait()
            free.woken.clear()
    await bell.close()


async def test_a_ring_that_nobody_is_free_to_take_wakes_who_is_busy_and_waits(redis_url: str) -> None:
    """It may be for a slot that is no download's."""
    busy = Sleeper(has_free_slot=False)
    bell = Wakeup(connect(redis_url))
    async with asyncio.timeout(BUSY), listening(redis_url, cast("Runner", busy)):
        for _ in range(3):
            await bell.send()
            await busy.woken.wait()
            busy.woken.clear()
        free = Sleeper()
        async with listening(redis_url, cast("Runner", free)):
            await free.woken.wait()
    await bell.close()


async def test_it_ends_at_whatever_moment_it_is_told_to(redis_url: str) -> None:
    for moment in range(_ENDINGS):
        async with asyncio.timeout(BUSY), listening(redis_url, cast("Runner", Sleeper())):
            await asyncio.sleep(moment / 4_000)
    gc.collect()  # here, where the warnings are expected
