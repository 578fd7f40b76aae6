"""Requests that come together are answered by one look, and each by one that began after it came."""

import asyncio
from collections.abc import Mapping

import pytest

from app.batcher import Batcher


class _Looking:
    """Finds each key's number of the look; each look takes until it is let go on."""

    def __init__(self) -> None:
        self.asked: list[set[str]] = []
        self.begun, self.go_on = asyncio.Semaphore(0), asyncio.Semaphore(0)
        self.shared = Batcher(self._look)

    async def _look(self, keys: set[str]) -> Mapping[str, int]:
        self.asked.append(set(keys))
        number = len(self.asked)
        self.begun.release()
        await self.go_on.acquire()
        if "broken" in keys:
            raise OSError
        return {key: number for key in keys if key != "absent"}

    def ask(self, key: str) -> asyncio.Task[int | None]:
        return asyncio.create_task(self.shared.get(key))


async def test_who_comes_while_a_look_is_under_way_shares_the_next_with_all_the_others() -> None:
    looking = _Looking()
    first = looking.ask("a")
    await looking.begun.acquire()
    later = [looking.ask(key) for key in ("a", "b", "absent", "a")]
    looking.go_on.release()
    assert await first == 1
    looking.go_on.release()
    assert await asyncio.gather(*later) == [2, 2, None, 2]
    assert looking.asked == [{"a"}, {"a", "b", "absent"}]


async def test_what_a_look_raises_all_who_shared_it_get_and_the_next_is_no_worse() -> None:
    looking = _Looking()
    together = [looking.ask("a"), looking.ask("broken")]
    looking.go_on.release()
    for task in together:
        with pytest.raises(OSError):  # noqa: PT011  # it is bare
            await task
    looking.go_on.release()
    assert await looking.ask("a") == 2


async def test_one_who_goes_away_takes_nothing_from_the_others() -> None:
    looking = _Looking()
    gone, stays = looking.ask("a"), looking.ask("b")
    await looking.begun.acquire()
    gone.cancel()
    looking.go_on.release()
    assert await stays == 1
