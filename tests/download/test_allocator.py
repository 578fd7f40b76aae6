"""Each byte of a file is fetched by one connection, in order, and none waits for a connection that has ended."""

import threading
from pathlib import Path

from app.storage.arrival import PosixArrival
from worker.download.allocator import RangeAllocator
from worker.download.blocks import BLOCK
from worker.download.disk import DiskPartial
from worker.download.flusher import Flusher
from worker.download.listing import HubFile
from worker.download.partial import key

SIZE = 3 * BLOCK - 100
FILE = HubFile("model.bin", SIZE, "0" * 40, "a" * 64)
LARGE = HubFile("large.bin", 200 * BLOCK, "0" * 40, "b" * 64)
DATA = b"x" * BLOCK
NEVER = threading.Event()


def _partial(folder: Path, file: HubFile = FILE) -> DiskPartial:
    (folder / "parts").mkdir(exist_ok=True)
    return DiskPartial(file, PosixArrival(folder / "tree", folder), Flusher())


def _allocator(folder: Path, file: HubFile = FILE) -> RangeAllocator:
    return RangeAllocator(_partial(folder, file))


def _take(allocator: RangeAllocator, length: int) -> tuple[int, int] | None:
    taken = allocator.take(length)
    return (taken.start, taken.end) if taken else None


def _take_all(allocator: RangeAllocator) -> list[tuple[int, int]]:
    ranges = []
    while taken := _take(allocator, 8 * BLOCK):
        ranges.append(taken)
    return ranges


def test_ranges_are_taken_in_order_and_as_long_as_asked_for(tmp_path: Path) -> None:
    allocator = _allocator(tmp_path)
    assert allocator.free == 3 * BLOCK
    assert _take(allocator, BLOCK + 1) == (0, 2 * BLOCK)
    assert allocator.free == BLOCK
    assert _take(allocator, BLOCK) == (2 * BLOCK, SIZE)
    assert allocator.is_taken
    assert _take(allocator, BLOCK) is None


def test_chunks_reach_over_blocks_and_end_where_another_connection_begins(tmp_path: Path) -> None:
    allocator = _allocator(tmp_path)
    first = allocator.take(SIZE)
    assert first
    other = allocator.divide(first)
    assert other
    assert (first.end, other.start, other.end) == (2 * BLOCK, 2 * BLOCK, SIZE)
    assert allocator.divide(other) is None
    assert allocator.write(first, [DATA[:1000]] * 3000) == 3_000_000
    assert allocator.write(first, [DATA] * 3) == 2 * BLOCK - 3_000_000
    assert first.is_empty
    assert allocator.partial.counted == 2 * BLOCK
    assert (tmp_path / "parts" / key(FILE)).read_bytes()[: 2 * BLOCK] == DATA * 2


def test_what_is_given_back_is_taken_by_another_connection(tmp_path: Path) -> None:
    allocator = _allocator(tmp_path)
    taken = allocator.take(SIZE)
    assert taken
    allocator.write(taken, [DATA[:1000]])
    assert allocator.is_taken
    allocator.give_back(taken)
    assert _take(allocator, BLOCK) == (1000, BLOCK)
    assert _take(allocator, 9 * BLOCK) == (BLOCK, SIZE)


def test_a_server_without_ranges_serves_one_connection_only(tmp_path: Path) -> None:
    allocator = _allocator(tmp_path)
    whole = allocator.take_all()
    assert whole
    assert (whole.start, whole.end, allocator.take_all(), _take(allocator, SIZE)) == (0, SIZE, None, None)


def test_only_a_file_that_nobody_has_begun_is_passed_on(tmp_path: Path) -> None:
    begun = _allocator(tmp_path)
    taken = begun.take(BLOCK)
    assert taken
    assert not begun.pass_on()
    begun.give_back(taken)
    assert begun.pass_on()
    assert _take(begun, BLOCK) is None
    assert not begun.pass_on()
    assert begun.partial.hash(NEVER) is None
    resumed = _allocator(tmp_path)
    resumed.partial.write([b"x"], 0, SIZE)
    assert not resumed.pass_on()


def test_connections_stay_within_reach_of_the_hasher_but_never_wait_for_what_was_there_at_the_start(
    tmp_path: Path,
) -> None:
    (tmp_path / "fresh").mkdir()
    partial = _partial(tmp_path / "fresh", LARGE)
    fresh = RangeAllocator(partial)
    taken = _take_all(fresh)
    assert 0 < taken[-1][1] < LARGE.size
    assert not fresh.is_taken
    buffer = bytearray(1)
    for block in range(9):
        partial.write([DATA], block * BLOCK, LARGE.size)
        partial.read(buffer, block * BLOCK, NEVER)
    assert _take_all(fresh)[0][0] == taken[-1][1]

    (tmp_path / "begun").mkdir()
    begun = _partial(tmp_path / "begun", LARGE)
    begun.write([DATA], 0, LARGE.size)
    begun.sync()
    assert _take_all(_allocator(tmp_path / "begun", LARGE))[-1][1] == LARGE.size
