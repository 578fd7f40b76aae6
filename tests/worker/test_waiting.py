"""A download that has all but what others fetch: it waits in its slot for as long as going on anew would take."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest

from app.db.session import Database
from app.db.transitions import Lease
from app.domain.errors import Failed, NotYet
from app.domain.sizes import size
from app.services import fetches, leases
from app.services.leases import Claim
from app.storage.base import Attempt
from app.storage.posix import PosixStore
from tests import by_hand
from tests.storage.attempts import LABEL
from worker.commands import sharing
from worker.commands.sharing import Sharing
from worker.commands.work import Work
from worker.download.protocol import Content
from worker.heartbeat import LeaseHeartbeat

CONTENT = Content("a" * 64, 2 << 20, "model.safetensors")
CHECKSUM, SIZE, PATH = CONTENT
LONG = 1 << 40
"""Bytes that to read takes half an hour."""


@pytest.fixture
def storage(tmp_path: Path) -> PosixStore:
    storage = PosixStore(tmp_path / "storage")
    storage.prepare()
    return storage


async def test_with_little_here_the_slot_is_freed_at_once(database: Database, storage: PosixStore) -> None:
    await _claimed(database, "acme/owner")
    claim, waiter = await _waiter(database, storage)
    with pytest.raises(NotYet) as waits:
        await waiter.wait([CHECKSUM], 1 << 20)
    assert waits.value.after is None
    assert "the download of acme/owner fetches the same content" in waits.value.message
    await _put_back(database, claim.lease)
    assert await by_hand.claim(database) is None


async def test_with_much_here_it_waits_until_the_content_has_arrived(
    database: Database, storage: PosixStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "_LOOK", 0.01)
    owner = await _claimed(database, "acme/owner")
    _, waiter = await _waiter(database, storage)
    waiting = asyncio.create_task(waiter.wait([CHECKSUM], LONG))
    assert not (await asyncio.wait({waiting}, timeout=0.3))[0]
    path = _arrive(storage, owner)
    assert str(path) in (await waiting)[CHECKSUM]


@pytest.mark.parametrize("number", [1, 3])
async def test_when_the_other_download_fails_one_of_those_that_wait_fetches_the_content(
    database: Database, storage: PosixStore, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(sharing, "_LOOK", 0.01)
    owner = await _claimed(database, "acme/owner")
    waiters = [await _waiter(database, storage, number) for number in range(number)]
    waiting = [asyncio.create_task(waiter.wait([CHECKSUM], LONG)) for _, waiter in waiters]
    assert not (await asyncio.wait(waiting, timeout=0.3))[0]
    await by_hand.give_up(database, owner)
    done, others = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result() for task in done] == [{}]
    assert len(others) == number - 1
    (chosen,) = [claim for (claim, _), task in zip(waiters, waiting, strict=True) if task in done]
    path = _arrive(storage, chosen)
    for task in others:
        assert str(path) in (await task)[CHECKSUM]


async def test_what_a_small_download_waits_for_is_passed_on_once(
    database: Database, storage: PosixStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "_ASK", 0.0)
    _, owner = await _waiter(database, storage)
    assert await owner.begin() == ({}, [])
    claim, _ = await _waiter(database, storage, 1)
    async with database.begin() as connection:
        await fetches.wait_for(connection, claim.lease.operation_id, [(CHECKSUM, SIZE)])
    await _put_back(database, claim.lease)
    assert await by_hand.claim(database) is None
    assert await owner.tell(3 * SIZE) == []
    assert await owner.tell(4 * SIZE) == [CHECKSUM]
    assert await owner.tell(4 * SIZE) == []
    await owner.pass_on([CHECKSUM])
    assert await by_hand.claim(database) is not None


async def test_what_is_taken_over_must_fit(database: Database, storage: PosixStore) -> None:
    _, waiter = await _waiter(database, storage, reserve=1 << 60)
    with pytest.raises(Failed, match=f"{size(SIZE)} are needed and 0 B are free"):
        await waiter.wait([CHECKSUM], 0)
    async with database.read() as connection:
        assert await fetches.by_others(connection, uuid4(), [CHECKSUM]) == []


class _Silent:
    """A doorbell that nobody hears."""

    async def send(self) -> None:
        pass


async def _claimed(database: Database, name: str) -> Claim:
    """A download that fetches the content."""
    claim = await _begun(database, name)
    async with database.begin() as connection:
        await fetches.claim(connection, claim.lease, [(CHECKSUM, PATH)])
    return claim


async def _begun(database: Database, name: str) -> Claim:
    await by_hand.create(database, name)
    claim = await by_hand.claim(database)
    assert claim is not None
    await by_hand.arrive(database, claim, 0)
    return claim


async def _waiter(
    database: Database, storage: PosixStore, number: int = 0, *, reserve: int = 0
) -> tuple[Claim, Sharing]:
    claim = await _begun(database, f"acme/waiter-{number}")
    context: Any = SimpleNamespace(database=database, storage=storage, reserve=reserve, wakeup=_Silent())
    work = Work(claim, LeaseHeartbeat(database, claim, 30), cast("Any", context), None)
    return claim, Sharing(work, [CONTENT])


async def _put_back(database: Database, lease: Lease) -> None:
    async with database.begin() as connection:
        await leases.put_back(connection, lease)


def _arrive(storage: PosixStore, claim: Claim) -> Path:
    """The content is verified in the claim's incoming files."""
    attempt = Attempt(claim.resource_id, LABEL, claim.lease.operation_id, claim.lease.fence)
    with storage.arrival(attempt) as arrival:
        path = arrival.tree / PATH
    path.touch()
    return path
