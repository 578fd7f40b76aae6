"""Checks that a download fits on the storage beside those that are running, and into the quota."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from app.db.session import Reader, Writer
from app.domain.errors import Failed, Reason
from app.domain.sizes import compared, size
from app.services import contents, downloads
from app.storage.locations import is_bucket
from worker.commands.work import Work, WorkerContext

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Room:
    """Measured: `free` bytes on the storage, and the bytes that `arrived` of models being downloaded.

    `free` is None if the storage has no notion of it: then everything fits.
    """

    free: int | None
    arrived: Mapping[UUID, int]


class NoRoom(Failed):
    """The download does not fit by the measurement."""


async def in_room(work: Work, begin: Callable[[Room], Awaitable[T]]) -> T:
    """Run `begin`, whose transaction stores what the download needs and calls `check_room`. Raises `NoRoom`.

    Space that a download has allocated in advance, or not reported yet, counts twice: it is not free, and still needed
    by the report. So if there is no room by the reports, measure what has arrived and run `begin` once more.
    """
    storage = work.context.storage
    try:
        return await begin(Room((await asyncio.to_thread(storage.space)).free, {}))
    except NoRoom:
        arrived = await asyncio.to_thread(storage.arrived)
        return await begin(Room((await asyncio.to_thread(storage.space)).free, arrived))


async def check_quota(connection: Writer, work: Work, total: int, shared: int) -> None:
    """Raise `Failed` unless a model of `total` bytes fits into the quota with all others.

    `shared`: bytes of contents that others have or fetch, which take no more room where a store links them.
    """
    if not work.context.quota:
        return
    await downloads.one_by_one(connection)
    need, left = await in_quota(connection, work.context, total, shared, without=work.claim.resource_id)
    if need > left:
        needed, rest, quota = compared(need, left, work.context.quota)
        message = (
            f"The model does not fit into DEPOT_QUOTA: {needed} are needed and {rest} are left of {quota}, with what other downloads still need. Delete models, or raise DEPOT_QUOTA, then "
            "retry."
        )
        raise Failed(Reason.FAULT, message)


async def in_quota(
    connection: Reader, context: WorkerContext, total: int, shared: int, *, without: UUID | None = None
) -> tuple[int, int]:
    """Return the bytes that a model takes of the quota, and those that are left of it beside all others."""
    linked = not is_bucket(context.storage.location)
    taken = await contents.taken(connection, without=without, linked=linked)
    return (total - shared if linked else total), max(context.quota - taken, 0)


async def check_room(connection: Writer, work: Work, missing: int, room: Room) -> None:
    """Raise `NoRoom` unless `missing` bytes fit beside those that other downloads still need."""
    if room.free is None:
        return
    await downloads.one_by_one(connection)
    others = await needed_by_others(connection, room, without=work.claim.resource_id)
    spare = max(room.free - work.context.reserve - others, 0)
    if missing > spare:
        needed, left, free = compared(missing, spare, room.free)
        message = (
            f"The storage has too little space: {needed} are needed and {left} are free ({free} on the disk, less a reserve "
            f"of {size(work.context.reserve)} and {size(others)} that other downloads still need). Delete models or free "
            "some space, then retry."
        )
        raise NoRoom(Reason.FAULT, message)


async def needed_by_others(connection: Reader, room: Room, *, without: UUID | None = None) -> int:
    """Return the bytes that running downloads still need."""
    under_way = await downloads.under_way(connection, without=without)
    return sum(
        max(size - max(reported, room.arrived.get(model_id, 0)), 0) for model_id, (size, reported) in under_way.items()
    )
