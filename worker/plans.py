"""Plans downloads: what the Hub and the files tell, beside what is here and how much fits."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from app.db.session import Reader
from app.domain.errors import TryAgain
from app.services import files
from worker.commands.room import Room, in_quota, needed_by_others
from worker.commands.work import WorkerContext
from worker.download.protocol import Described, PlannedFile
from worker.maintenance.marking import check_storage

_MOST_LISTED = 10_000
"""Files that are listed, the largest."""
_PATIENCE = 2.0
"""Seconds that the storage, which may be remote, has to answer."""


async def plan(context: WorkerContext, described: Described) -> Mapping[str, Any]:
    """Return the plan of a described download, in the API's terms."""
    selected = described.selected
    async with context.database.read() as connection:
        here = await _here(connection, described)
    total, missing = sum(file.size for file in selected), _missing(selected, here)
    return {
        **described.about,
        "file_count": len(selected),
        "bytes_total": total,
        "bytes_here": total - missing,
        "bytes_to_fetch": missing,
        "space": await _space(context, total, missing),
        "files": [
            {"path": file.path.encode(errors="replace").decode(), "size": file.size, "here": file.sha256 in here}
            for file in selected[:_MOST_LISTED]
        ],
    }


async def _here(connection: Reader, described: Described) -> set[str]:
    """Return the SHA-256s of contents that a download would link. Without access to them, as there, it would link none."""
    checksums = list({file.sha256 for file in described.selected if file.sha256}) if described.may_read else []
    return {sha256 for sha256, _, _ in await files.find_by_checksum(connection, checksums)}


def _missing(selected: Sequence[PlannedFile], here: set[str]) -> int:
    """Return the bytes to fetch: of several files with the same content, one."""
    contents = {file.sha256: file.size for file in selected if file.sha256 and file.sha256 not in here}
    return sum(contents.values()) + sum(file.size for file in selected if not file.sha256)


async def _space(context: WorkerContext, total: int, missing: int) -> Mapping[str, Any] | None:
    """Return how much fits, by the same sums as when a download begins; None if the storage can't be used now."""
    storage = context.storage
    try:
        async with asyncio.timeout(_PATIENCE):
            await check_storage(context.database, storage)
            arrived = await asyncio.to_thread(storage.arrived)
            room = Room((await asyncio.to_thread(storage.space)).free, arrived)
    except (TryAgain, OSError):  # a timeout is an OSError
        return None
    async with context.database.read() as connection:
        others = await needed_by_others(connection, room)
        need, left = await in_quota(connection, context, total, total - missing) if context.quota else (0, 0)
    # Below the reserve, what is missing up to it must be freed, too.
    lacking = max(need - left, 0) if need else 0
    if missing and room.free is not None:
        lacking = max(missing - (room.free - context.reserve - others), lacking)
    return {
        "free": room.free,
        "free_after": None if room.free is None else room.free - others - missing,
        "needed_by_others": others,
        "reserve": context.reserve,
        "quota_left": max(left, 0) if context.quota else None,
        "lacking": lacking,
        "fits": not lacking,
    }
