"""Figures that are costly to count, and that many ask for."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from app.services import contents, operations, workers
from app.services.contents import Contents
from app.services.operations import Census
from app.services.workers import Listed

_SHARE = 100
"""A count is good for so many times as long as it took."""
_Answer = TypeVar("_Answer")


class Figure(Generic[_Answer]):
    """Counted anew when it is asked for and too old, or older than `oldest` seconds.

    However often that is, it takes the database a hundredth of its time at most, as long as a count takes no more than
    a hundredth of `oldest`.
    """

    def __init__(self, count: Callable[[AsyncConnection], Awaitable[_Answer]], *, oldest: float = 15.0) -> None:
        self._count, self._oldest = count, oldest
        self._counting = asyncio.Lock()
        self._counted: tuple[_Answer, float] | None = None

    async def look(self, connection: AsyncConnection) -> _Answer:
        async with self._counting:
            begun = time.monotonic()
            if self._counted is None or begun > self._counted[1]:
                answer = await self._count(connection)
                took = time.monotonic() - begun
                self._counted = answer, begun + min(_SHARE * took, self._oldest)
            return self._counted[0]


class Figures:
    """All that one process tells."""

    def __init__(self) -> None:
        self.census: Figure[Census] = Figure(operations.census)
        self.contents: Figure[Contents] = Figure(contents.total, oldest=60.0)
        self.crew: Figure[Sequence[Listed]] = Figure(workers.list_all, oldest=3.0)
