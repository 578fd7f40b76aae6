"""Figures that are costly to count and often requested."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from app.db.session import Reader
from app.services import catalogue, contents, operations, webhooks, workers
from app.services.catalogue import Totals
from app.services.contents import Contents
from app.services.operations import Census
from app.services.webhooks import Undelivered
from app.services.workers import Listed

_SHARE = 100
"""A count is valid for this many times as long as it took."""
_FEW = 10_000
"""Models that are counted in some milliseconds."""
_Answer = TypeVar("_Answer")


class Figure(Generic[_Answer]):
    """A cached count. A request counts again if it has expired, is older than `oldest` seconds, or not `worth` caching.

    Counting takes at most a hundredth of the database's time, as long as one count takes no more than a hundredth of
    `oldest`.
    """

    def __init__(
        self,
        count: Callable[[Reader], Awaitable[_Answer]],
        *,
        oldest: float = 15.0,
        worth: Callable[[_Answer], bool] = lambda _: True,
    ) -> None:
        self._count, self._oldest, self._worth = count, oldest, worth
        self._counting = asyncio.Lock()
        self._counted: tuple[_Answer, float] | None = None

    async def look(self, connection: Reader) -> _Answer:
        async with self._counting:
            begun = time.monotonic()
            if self._counted is None or begun > self._counted[1]:
                answer = await self._count(connection)
                took = time.monotonic() - begun if self._worth(answer) else 0.0
                self._counted = answer, begun + min(_SHARE * took, self._oldest)
            return self._counted[0]

    def forget(self) -> None:
        """Have the next request count: what is counted has just been changed here."""
        self._counted = None


def _are_many(totals: Totals) -> bool:
    return sum(total.number for total in totals.values()) > _FEW


class Figures:
    """All figures of one process."""

    def __init__(self) -> None:
        self.census: Figure[Census] = Figure(operations.census)
        self.undelivered: Figure[Undelivered] = Figure(webhooks.undelivered)
        self.contents: Figure[Contents] = Figure(contents.total, oldest=600.0)
        self.models: Figure[Totals] = Figure(catalogue.totals, worth=_are_many)
        self.crew: Figure[Sequence[Listed]] = Figure(workers.list_all, oldest=3.0)
