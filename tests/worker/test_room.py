"""Whether a download fits beside those that are under way, whatever these have reported yet."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from uuid import UUID

import pytest

from app.db.session import Database
from app.domain.errors import Reason
from app.domain.sizes import size
from app.storage.base import Attempt
from app.storage.posix import PosixStore
from tests import by_hand
from tests.faults.conftest import mounted
from tests.storage.attempts import LABEL
from worker.commands.room import NoRoom, Room, check_room, in_room
from worker.commands.work import Work, WorkerContext
from worker.download.preallocation import allocate
from worker.heartbeat import LeaseHeartbeat

MIB = 1 << 20
DISK, TAKEN = 40 * MIB, 24 * MIB


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[PosixStore]:
    with mounted(tmp_path / "disk", DISK // MIB) as problem:
        if problem:
            pytest.skip(problem)
        storage = PosixStore(tmp_path / "disk")
        storage.prepare()
        yield storage


async def _work(database: Database, storage: PosixStore, name: str) -> Work:
    await by_hand.create(database, name)
    claim = await by_hand.claim(database)
    assert claim is not None
    context = cast("WorkerContext", SimpleNamespace(database=database, storage=storage, reserve=0))
    return Work(claim, LeaseHeartbeat(database, claim, 30), context, None)


async def _needs(work: Work, size: int) -> UUID:
    """It begins if there is room."""

    async def begin(room: Room) -> UUID:
        async with work.context.database.begin() as connection:
            await check_room(connection, work, size, room)
        await by_hand.arrive(work.context.database, work.claim, 0, total=size)
        return work.claim.resource_id

    return await in_room(work, begin)


async def test_what_others_have_taken_in_advance_counts_once(database: Database, storage: PosixStore) -> None:
    first = await _work(database, storage, "acme/first")
    model_id = await _needs(first, TAKEN)
    attempt = Attempt(model_id, LABEL, first.claim.lease.operation_id, first.claim.lease.fence)
    with storage.arrival(attempt) as arrival, (arrival.parts / "large").open("wb") as part:
        allocate(part.fileno(), 0, TAKEN)
    assert (storage.space().free or DISK) < DISK - TAKEN + MIB
    assert storage.arrived()[model_id] >= TAKEN
    second = await _work(database, storage, "acme/second")
    with pytest.raises(NoRoom, match=f"{size(DISK - TAKEN + MIB)} are needed") as refused:
        await _needs(second, DISK - TAKEN + MIB)
    assert refused.value.reason is Reason.FAULT
    await _needs(second, 8 * MIB)
    third = await _work(database, storage, "acme/third")
    with pytest.raises(NoRoom):
        await _needs(third, 10 * MIB)
