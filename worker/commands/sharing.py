"""Shares contents between downloads: which ones it links, which it waits for, and which it fetches for all.

Contents are looked up on disk, in ready models and in models being downloaded. In each attempt, the download process
first asks the Hub whether the caller may read the repository.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

import structlog

from app.db.errors import DatabaseUnreachable
from app.db.session import Writer
from app.domain.errors import NotYet, Reason
from app.services import fetches, files
from app.services.fetches import Fetch
from app.storage.base import StoreAway
from worker.commands.room import Room, check_room, in_room
from worker.commands.work import Work
from worker.download.protocol import Content

_LARGE = 1 << 20
"""Contents above this many bytes get a row and are waited for."""
_LOOK = 1.0
"""Seconds between polls of what others fetch."""
_ASK = 5.0
"""Seconds between polls of what others wait for."""
_SHARE = 4
"""Contents are passed on to a waiting download if the bytes left here are at least this many times what it needs."""
_REREAD = 1 << 29
"""Bytes per second at which a later attempt reads again what is here."""

Places = dict[str, list[str]]
"""SHA-256 to the paths where the content may be."""

log = structlog.get_logger()


class Sharing:
    """The sharing of one attempt."""

    def __init__(self, work: Work, contents: Iterable[Content]) -> None:
        self._work = work
        self._operation_id = work.claim.lease.operation_id
        self._contents = {content.sha256: content for content in contents}
        self._news: list[str] = []
        self._kept: set[str] = set()
        """Contents not to pass on: they were passed on once, without success."""
        self._asked = 0.0
        self.linked = 0
        """Bytes of the contents that other models have."""

    async def begin(self) -> tuple[Places, list[str]]:
        """Return the places of contents on this storage, and the other contents that other downloads fetch.

        The rest is claimed. Raises `LeaseLost`.
        """
        large = [content.sha256 for content in self._contents.values() if content.size > _LARGE]
        if not large:
            links = await self._copies(self._contents)
            self.linked = self.size(links)
            return links, []
        async with self._work.context.database.read() as connection:
            self._kept = await fetches.awaited(connection, self._operation_id)
        others = await self._by_others(large)
        links = await self._find(others)
        free = set(large) - links.keys() - {fetch.sha256 for fetch in others if fetch.goes_on}
        async with self._work.context.database.begin() as connection:
            await fetches.claim(
                connection,
                self._work.claim.lease,
                [(sha256, content.path) for sha256, content in self._contents.items() if sha256 in free],
            )
        # After the claim: a download that was just published has a ready model instead of its claim.
        awaited = {fetch.sha256 for fetch in await self._by_others(large)}
        links |= await self._copies(self._contents)
        self.linked = self.size(links)
        return links, sorted(awaited - links.keys())

    async def plan(self, connection: Writer, awaited: Sequence[str]) -> None:
        """Store what is left to others, in the transaction in which the download begins."""
        await fetches.wait_for(connection, self._operation_id, self._sizes(awaited))

    def verified(self, sha256: str) -> None:
        """Note a content for the next `tell`."""
        if sha256 in self._contents and self._contents[sha256].size > _LARGE:
            self._news.append(sha256)

    async def tell(self, left: int) -> list[str]:
        """Release downloads that wait for verified contents. Return contents to pass on to others.

        Every `_ASK` seconds, these are the contents of waiting downloads that need little compared to `left` bytes.
        """
        with _without_database():
            if self._news:
                async with self._work.context.database.begin() as connection:
                    await fetches.arrived(connection, self._operation_id, self._news)
                self._news = []
            if time.monotonic() - self._asked > _ASK:
                self._asked = time.monotonic()
                return await self._asked_for(left)
        return []

    async def pass_on(self, checksums: Sequence[str]) -> None:
        """Leave these contents to other downloads."""
        with _without_database():
            async with self._work.context.database.begin() as connection:
                await fetches.pass_on(connection, self._work.claim.lease, self._sizes(checksums))
            await self._work.context.wakeup.send()

    async def wait(self, awaited: Sequence[str], downloaded: int) -> Places:
        """Return the places of awaited contents on this storage. This download has claimed those left out.

        Raises `NotYet` while others fetch them, `Failed` if there is no room to fetch them here, or `LeaseLost`.
        """
        await self.tell(0)
        self._work.heartbeat.count_bytes(downloaded)
        # Waiting occupies a slot; a later attempt must read again all that is here. So wait as long as that would take.
        until = time.monotonic() + downloaded / _REREAD
        while True:
            others = await self._by_others(awaited)
            links = await self._find(others) | await self._copies(awaited)
            missing = [sha256 for sha256 in awaited if sha256 not in links]
            on_its_way = [fetch for fetch in others if fetch.sha256 in missing and fetch.goes_on]
            if not on_its_way and await self._take_over(missing):
                return links
            if on_its_way and time.monotonic() >= until:
                await self._report(missing)
                raise NotYet(Reason.BUSY, self._told(missing, on_its_way[0]), after=_after(on_its_way))
            await asyncio.sleep(_LOOK)

    async def _asked_for(self, left: int) -> list[str]:
        needs: defaultdict[UUID, dict[str, int]] = defaultdict(dict)
        async with self._work.context.database.read() as connection:
            for waiter, sha256, size in await fetches.wanted(connection, self._operation_id):
                needs[waiter][sha256] = size
        few = {sha256 for need in needs.values() if sum(need.values()) * _SHARE <= left for sha256 in need}
        few -= self._kept
        self._kept |= few
        return sorted(few)

    async def _take_over(self, checksums: Sequence[str]) -> bool:
        """Claim contents that no download fetches. Return False if another download claimed some of them first."""
        contents = [(sha256, self._contents[sha256].path) for sha256 in checksums]

        async def claim(room: Room) -> bool:
            async with self._work.context.database.begin() as connection:
                await fetches.claim(connection, self._work.claim.lease, contents)
                if await fetches.by_others(connection, self._operation_id, checksums):
                    return False
                await check_room(connection, self._work, self.size(checksums), room)
                await fetches.wait_for(connection, self._operation_id, [])
            return True

        return await in_room(self._work, claim)

    async def _report(self, missing: Sequence[str]) -> None:
        async with self._work.context.database.begin() as connection:
            await fetches.wait_for(connection, self._operation_id, self._sizes(missing))
            await self._work.heartbeat.write_progress(connection)

    def size(self, checksums: Iterable[str]) -> int:
        """Return the bytes of these contents."""
        return sum(size for _, size in self._sizes(checksums))

    def _told(self, missing: Sequence[str], fetch: Fetch) -> str:
        path = self._contents[fetch.sha256].path
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        return f"It waits for {path!r}{more}: the download of {fetch.name} fetches the same content."

    async def _by_others(self, checksums: Sequence[str]) -> list[Fetch]:
        async with self._work.context.database.read() as connection:
            return await fetches.by_others(connection, self._operation_id, checksums)

    async def _copies(self, checksums: Iterable[str]) -> Places:
        """Return places in other ready models. During a repair this model is ready, too: it is left out."""
        storage = self._work.context.storage
        async with self._work.context.database.read() as connection:
            copies = await files.find_by_checksum(connection, list(checksums), without=self._work.claim.resource_id)
        return {sha256: [storage.copy_of(model_id, path)] for sha256, model_id, path in copies}

    async def _find(self, others: Sequence[Fetch]) -> Places:
        """Return places in models that are being downloaded."""
        storage = self._work.context.storage

        def look() -> Places:
            found: Places = {}
            for fetch in others:
                try:
                    found[fetch.sha256] = list(storage.find(fetch.model_id, fetch.path))
                except StoreAway:
                    raise
                except OSError:  # the download itself says what is wrong with the storage
                    continue
            return found

        found = await asyncio.to_thread(look)
        return {sha256: places for sha256, places in found.items() if places}

    def _sizes(self, checksums: Iterable[str]) -> list[tuple[str, int]]:
        return [(sha256, self._contents[sha256].size) for sha256 in checksums]


@contextmanager
def _without_database() -> Iterator[None]:
    """Log a database failure of the block: the download can go on, and others are told later or at its end."""
    try:
        yield
    except DatabaseUnreachable as error:
        log.warning("the database can't be used", reason=str(error), error=error.cause)


def _after(on_its_way: Sequence[Fetch]) -> float | None:
    """Return seconds to wait, or `None` if it can't be claimed before a content arrives: it keeps its queue place."""
    return _LOOK if all(fetch.arrived for fetch in on_its_way) else None
