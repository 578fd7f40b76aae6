"""Whether a download fits on the storage, beside those that are under way."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.errors import Failed, Reason
from app.services import downloads
from worker.commands.work import Work

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Room:
    """What was measured: `free` bytes on the storage, and those that `arrived` of models under way."""

    free: int
    arrived: Mapping[UUID, int]


class NoRoom(Failed):
    """It does not fit, as far as was measured."""


async def in_room(work: Work, begin: Callable[[Room], Awaitable[T]]) -> T:
    """Carry out `begin`, whose transaction says what the download needs and asks `check_room`. Raises `NoRoom`.

    What a download has taken in advance, or not reported yet, is no more free, and still to come by its report. So where
    there is no room by the reports, it is measured what has arrived, and `begin` carried out once more.
    """
    storage = work.tools.storage
    try:
        return await begin(Room(await asyncio.to_thread(storage.free), {}))
    except NoRoom:
        arrived = await asyncio.to_thread(storage.arrived)
        return await begin(Room(await asyncio.to_thread(storage.free), arrived))


async def check_room(connection: AsyncConnection, work: Work, missing: int, room: Room) -> None:
    """Raise `NoRoom` unless `missing` bytes fit in, beside what other downloads still need."""
    under_way = await downloads.under_way(connection, without=work.claim.resource_id)
    others = sum(
        max(size - max(reported, room.arrived.get(model_id, 0)), 0) for model_id, (size, reported) in under_way.items()
    )
    spare = max(room.free - work.tools.reserve - others, 0)
    if missing > spare:
        message = (
            f"The storage has too little space: {missing} bytes are needed and {spare} are free "
            f"({room.free} on the disk, less a reserve of {work.tools.reserve} and {others} that other downloads "
            "still need). Free some space, then send the request again."
        )
        raise NoRoom(Reason.FAULT, message)
