"""Ends tasks also where a cancellation gets lost."""

import asyncio


async def cancel_and_wait(task: asyncio.Task[None], *, patience: float) -> None:
    """Cancel the task, and again after every `patience` seconds, until it has ended in whichever way.

    Before Python 3.12 `asyncio.wait_for`, which libraries call, swallows a cancellation that comes with what it waits for.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=patience)
    if not task.cancelled():
        task.exception()  # or else asyncio complains that nobody asked for it
