"""Ending a task: once is enough for most, and those that miss it are told again."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from structlog.testing import capture_logs

from app.tasks import beside, cancel_and_wait
from tests.processes import BUSY


async def test_a_task_that_missed_its_cancellation_is_cancelled_again() -> None:
    missed = 0

    async def deaf() -> None:
        nonlocal missed
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                missed += 1
                if missed == 3:
                    raise

    async with asyncio.timeout(BUSY):
        await cancel_and_wait(await _begun(deaf()), patience=0.01)
    assert missed == 3


async def test_a_task_may_say_goodbye_within_the_patience() -> None:
    said = []

    async def polite() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            said.append("goodbye")

    async with asyncio.timeout(BUSY):
        await cancel_and_wait(await _begun(polite()), patience=5)
    assert said == ["goodbye"]


async def test_a_task_that_failed_has_ended() -> None:
    async def fails() -> None:
        raise ValueError

    await cancel_and_wait(await _begun(fails()), patience=5)


async def _begun(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    task = asyncio.create_task(work)
    await asyncio.sleep(0)
    return task


async def test_work_beside_a_block_ends_with_it_and_an_error_is_told_at_once() -> None:
    async def fails() -> None:
        raise ValueError("a bug")

    ended = []

    async def goes_on() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("goes on")

    with capture_logs() as logs:
        async with beside(goes_on()), beside(fails()):
            async with asyncio.timeout(BUSY):
                while not logs:  # noqa: ASYNC110  # the log has no event
                    await asyncio.sleep(0)
            assert ended == []
    assert ended == ["goes on"]
    (told,) = logs
    assert (told["log_level"], str(told["exc_info"])) == ("error", "a bug")
