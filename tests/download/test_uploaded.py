"""A file that is sent to a store while it arrives: what is there is its content, and what is held is bounded."""

import _hashlib
import random
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest

from app.storage.base import Attempt
from app.storage.incoming import UploadArrival
from tests.buckets import Place
from tests.fakehub.content import Bytes
from tests.faults.bucketed import arriving, keys
from tests.processes import until
from tests.storage.attempts import attempt_at
from worker.download import midstate
from worker.download.allocator import RangeAllocator
from worker.download.blocks import BLOCK
from worker.download.checksums import Checksum
from worker.download.listing import HubFile
from worker.download.partials import Partials
from worker.download.uploaded import UploadedPartial

MIB = 1 << 20
PART = 8 * MIB
DATA = random.Random(3).randbytes(5 * PART + 1000)
LFS = HubFile("model.bin", len(DATA), "0" * 40, Bytes(DATA).sha256)
GIT = HubFile("words.txt", len(DATA), Bytes(DATA).oid, None)
MEMORY = 4 * PART


class Fetching:
    """One attempt's partial files, each hashed by a thread, fed by hand."""

    def __init__(self, place: Place, attempt: Attempt, memory: int = MEMORY) -> None:
        self._stack = place.open().arrival(attempt)
        self.arrival = self._stack.__enter__()
        assert isinstance(self.arrival, UploadArrival)
        self.partials = Partials(self.arrival, memory)
        self.stopped = threading.Event()
        self._hashers = ThreadPoolExecutor(2)

    def open(self, file: HubFile) -> tuple[UploadedPartial, RangeAllocator]:
        partial = self.partials.open(file)
        assert isinstance(partial, UploadedPartial)
        return partial, RangeAllocator(partial)

    def hash(self, partial: UploadedPartial) -> "Future[Checksum | None]":
        return self._hashers.submit(partial.hash, self.stopped)

    def finish(self, partial: UploadedPartial) -> "Future[bool]":
        """As the download's hashers do: whether it was right, and kept."""

        def work() -> bool:
            checksum = partial.hash(self.stopped)
            if checksum is None or not checksum.matches():
                return False
            partial.keep()
            return True

        return self._hashers.submit(work)

    def end(self) -> None:
        self.stopped.set()
        self._hashers.shutdown()
        self._stack.__exit__(None, None, None)


@contextmanager
def fetching(place: Place, attempt: Attempt, memory: int = MEMORY) -> Iterator[Fetching]:
    one = Fetching(place, attempt, memory)
    try:
        yield one
    finally:
        one.end()


@pytest.fixture
def attempt() -> Attempt:
    return attempt_at()


def _feed(allocator: RangeAllocator, data: bytes, until: int | None = None) -> int:
    """Write all that can be taken, in order, as it comes from a network; return the offset of the first byte."""
    first, poll = -1, threading.Event()
    while not allocator.is_taken:
        taken = allocator.take(BLOCK)
        if taken is None:
            poll.wait(0.005)
            continue
        first = taken.start if first < 0 else first
        if until is not None and taken.start >= until:
            break
        allocator.write(taken, [data[at : at + 16_384] for at in range(taken.start, taken.end, 16_384)])
    return first


def _bring(one: Fetching, file: HubFile, data: bytes = DATA) -> int:
    """Fetch a whole file; return the offset of the first byte that was."""
    partial, allocator = one.open(file)
    finished = one.finish(partial)
    first = _feed(allocator, data)
    assert finished.result(60)
    return first


def _begin(one: Fetching, file: HubFile, data: bytes = DATA) -> None:
    """Send the first three parts of a file, and record them."""
    partial, allocator = one.open(file)
    one.hash(partial)
    _feed(allocator, data, until=3 * PART)
    until(lambda: min(partial._sent, partial._hashed) == 3, str)
    partial.sync()


def _stored(one: Fetching, file: HubFile) -> bytes:
    with one.arrival.open(file.path) as stored:
        return stored.read()


@pytest.fixture
def no_states(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Python whose hashlib is linked with no library that can be found."""
    monkeypatch.setattr(_hashlib, "__file__", "/nowhere/hashlib.so")
    for cached in (midstate.is_possible, midstate._library):
        cached.cache_clear()
    assert not midstate.is_possible()
    yield
    monkeypatch.undo()
    for cached in (midstate.is_possible, midstate._library):
        cached.cache_clear()


@pytest.mark.parametrize("file", [LFS, GIT], ids=["lfs", "git"])
def test_what_an_attempt_had_sent_is_not_fetched_again(bucket: Place, attempt: Attempt, file: HubFile) -> None:
    with fetching(bucket, attempt) as first:
        _begin(first, file)
    with fetching(bucket, replace(attempt, fence=2)) as second:
        assert _bring(second, file) == 3 * PART
        assert _stored(second, file) == DATA
        assert arriving(bucket) == []


def test_an_upload_whose_parts_are_all_there_is_only_completed(bucket: Place, attempt: Attempt) -> None:
    with fetching(bucket, attempt) as first:
        partial, allocator = first.open(LFS)
        hashed = first.hash(partial)
        _feed(allocator, DATA)
        assert hashed.result(60)
        partial.sync()
    with fetching(bucket, replace(attempt, fence=2)) as second:
        assert _bring(second, LFS) == -1
        assert _stored(second, LFS) == DATA


@pytest.mark.usefixtures("no_states")
@pytest.mark.parametrize("file", [LFS, GIT], ids=["lfs", "git"])
@pytest.mark.parametrize("is_right", [True, False], ids=["right", "wrong"])
def test_without_a_saved_state_what_was_sent_is_read_back_before_it_counts(
    bucket: Place, attempt: Attempt, file: HubFile, is_right: bool
) -> None:
    with fetching(bucket, attempt) as first:
        _begin(first, file, DATA if is_right else b"x" + DATA[1:])
    with fetching(bucket, replace(attempt, fence=2)) as second:
        partial, allocator = second.open(file)
        hashed = second.hash(partial)
        assert _feed(allocator, DATA) == 3 * PART
        checksum = hashed.result(60)
        assert checksum
        assert checksum.matches() == is_right
        if is_right:
            partial.keep()
            assert _stored(second, file) == DATA
        else:
            partial.drop()
            assert not keys(bucket, end=file.path)
            assert _bring(second, file) == 0
            assert _stored(second, file) == DATA
        assert arriving(bucket) == []


def test_no_file_waits_for_memory_that_another_one_holds(bucket: Place, attempt: Attempt) -> None:
    """Two are hashed at a time; connections ask for ranges of the last one first."""
    names = ["one", "two", "three", "four"]
    files = [
        replace(LFS, path=name, sha256=Bytes(name.encode() + DATA).sha256, size=len(DATA) + len(name)) for name in names
    ]
    with fetching(bucket, attempt, memory=2 * PART) as one:
        opened = [(*one.open(file), file) for file in files]
        finished = {file.path: one.finish(partial) for partial, _, file in opened}
        for partial, allocator, file in reversed(opened[2:]):
            assert not partial._is_hashing
            assert allocator.take(BLOCK) is None, f"{file.path} is fetched before it can be hashed"
        feeding = ThreadPoolExecutor(4)
        for _, allocator, file in reversed(opened):
            feeding.submit(_feed, allocator, file.path.encode() + DATA)
        for file in files:
            assert finished[file.path].result(120)
            assert _stored(one, file) == file.path.encode() + DATA
        feeding.shutdown()


def test_what_comes_again_changes_nothing(bucket: Place, attempt: Attempt) -> None:
    with fetching(bucket, attempt) as one:
        partial, allocator = one.open(LFS)
        hashed = one.hash(partial)
        taken = allocator.take(BLOCK)
        assert taken
        assert allocator.write(taken, [DATA[:1000]]) == 1000
        assert partial.write([b"x" * 1000], 0, LFS.size) == 0
        assert partial.write([b"x" * 1000 + DATA[1000:1500]], 0, LFS.size) == 500
        allocator.give_back(taken)
        taken.advance(500)
        _feed(allocator, DATA)
        assert partial.write([b"x" * MIB], PART - MIB // 2, LFS.size) == 0
        checksum = hashed.result(60)
        assert checksum
        assert checksum.matches()
        partial.keep()
        assert partial.write([b"x" * 1000], 0, LFS.size) == 0
        assert _stored(one, LFS) == DATA


def test_a_server_that_ignores_ranges_is_waited_for_while_the_store_is_behind(bucket: Place, attempt: Attempt) -> None:
    with fetching(bucket, attempt, memory=2 * PART) as one:
        partial, allocator = one.open(LFS)
        finished = one.finish(partial)
        until(lambda: allocator.take(BLOCK), str)
        whole = allocator.take_all()
        assert whole
        for start in range(0, LFS.size, 3 * MIB):
            allocator.write(whole, [DATA[start : start + 3 * MIB]])
        assert finished.result(60)
        assert _stored(one, LFS) == DATA


def test_nothing_is_left_of_a_file_that_is_dropped(bucket: Place, attempt: Attempt) -> None:
    with fetching(bucket, attempt) as one:
        partial, allocator = one.open(LFS)
        hashed = one.hash(partial)
        _feed(allocator, DATA, until=2 * PART)
        partial.abandon()
        assert hashed.result(60) is None
        partial.drop()
        assert partial.is_given_up
        assert arriving(bucket) == []
        assert allocator.take(BLOCK) is None
        assert _bring(one, LFS) == 0, "the memory is free again"


def test_a_store_that_goes_away_is_told_by_the_hasher(bucket: Place, attempt: Attempt) -> None:
    with fetching(bucket, attempt) as one:
        partial, allocator = one.open(LFS)
        hashed = one.hash(partial)
        assert partial._upload
        partial._upload._objects.name = "no-such-bucket"  # type: ignore[attr-defined]
        _feed(allocator, DATA, until=PART)
        with pytest.raises(FileNotFoundError, match="there is no bucket"):
            hashed.result(60)
        assert allocator.take(BLOCK) is None
