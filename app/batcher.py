"""Work that many ask for at the same time, done once for all of them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key")
Found = TypeVar("Found")


class Batcher(Generic[Key, Found]):
    """One run at a time: whoever comes while it is under way shares the next.

    So everybody is told what was found, or done, after they asked, as if each had been alone.
    """

    def __init__(self, work: Callable[[set[Key]], Awaitable[Mapping[Key, Found]]]) -> None:
        """`work` takes some keys and says what came of those that something came of. What it raises, all get."""
        self._work = work
        self._busy = asyncio.Lock()
        self._next: tuple[set[Key], asyncio.Task[Mapping[Key, Found]]] | None = None

    async def get(self, key: Key) -> Found | None:
        if self._next is None:
            keys: set[Key] = set()
            self._next = keys, asyncio.create_task(self._run(keys))
        keys, found = self._next
        keys.add(key)
        # One who goes away takes nothing from the others.
        return (await asyncio.shield(found)).get(key)

    async def _run(self, keys: set[Key]) -> Mapping[Key, Found]:
        async with self._busy:
            # Whoever's request the loop reads in this turn shares it, too.
            await asyncio.sleep(0)
            self._next = None
            return await self._work(keys)
