"""Ends tasks even if a cancellation gets lost."""

import asyncio


async def cancel_and_wait(task: asyncio.Task[None], *, patience: float) -> None:
    """Cancel the task, and again every `patience` seconds, until it has ended, however it ends.

    Before Python 3.12 `asyncio.wait_for`, which libraries call, swallows a cancellation that comes with the result.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=patience)
    if not task.cancelled():
        task.exception()  # or else asyncio logs that it was never retrieved
