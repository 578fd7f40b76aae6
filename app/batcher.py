"""Runs work that concurrent callers request once for all of them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key")
Found = TypeVar("Found")


class Batcher(Generic[Key, Found]):
    """One run at a time; callers that arrive during a run share the next one.

    So every caller gets a result computed after its call, as if it were alone.
    """

    def __init__(self, work: Callable[[set[Key]], Awaitable[Mapping[Key, Found]]]) -> None:
        """`work` maps a set of keys to results; a missing key means no result. Its exception reaches every caller."""
        self._work = work
        self._busy = asyncio.Lock()
        self._next: tuple[set[Key], asyncio.Task[Mapping[Key, Found]]] | None = None

    async def get(self, key: Key) -> Found | None:
        if self._next is None:
            keys: set[Key] = set()
            self._next = keys, asyncio.create_task(self._run(keys))
        keys, found = self._next
        keys.add(key)
        # A cancelled caller must not cancel the others' run.
        return (await asyncio.shield(found)).get(key)

    async def _run(self, keys: set[Key]) -> Mapping[Key, Found]:
        async with self._busy:
            # Requests that the event loop reads in this turn join this run, too.
            await asyncio.sleep(0)
            self._next = None
            return await self._work(keys)
