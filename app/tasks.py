"""Runs tasks beside a block, and ends tasks even if a cancellation gets lost."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog

_GOODBYE = 0.5
"""Seconds between the attempts to end a task."""

log = structlog.get_logger()


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work` during the block. If an error ends it before, that is logged at once."""
    task = asyncio.create_task(work)
    task.add_done_callback(_tell)
    try:
        yield
    finally:
        await cancel_and_wait(task, patience=_GOODBYE)


def _tell(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("a part of this process ended by a bug: restart it", exc_info=error)


async def cancel_and_wait(task: asyncio.Task[None], *, patience: float) -> None:
    """Cancel the task, and again every `patience` seconds, until it has ended, however it ends.

    Before Python 3.12 `asyncio.wait_for`, which libraries call, swallows a cancellation that comes with the result.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=patience)
    if not task.cancelled():
        task.exception()  # or else asyncio logs that it was never retrieved
