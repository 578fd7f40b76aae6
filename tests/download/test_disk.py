"""A file in flight: its bytes count once, and only those that are really there are kept for the next attempt."""

import errno
import os
import threading
from pathlib import Path

import pytest

from app.storage.arrival import PosixArrival
from tests.processes import opened
from worker.download.allocator import RangeAllocator
from worker.download.blocks import BLOCK
from worker.download.disk import DiskPartial
from worker.download.flusher import Flusher
from worker.download.listing import HubFile
from worker.download.partial import key
from worker.download.preallocation import allocate

SIZE = 3 * BLOCK - 100
FILE = HubFile("model.bin", SIZE, "0" * 40, "a" * 64)
DATA = b"x" * BLOCK
NEVER = threading.Event()


def _partial(folder: Path, file: HubFile = FILE) -> DiskPartial:
    (folder / "parts").mkdir(exist_ok=True)
    return DiskPartial(file, PosixArrival(folder / "tree", folder), Flusher())


def _write(partial: DiskPartial, data: bytes, offset: int) -> int:
    return partial.write([data], offset, partial.file.size)


def _fill(partial: DiskPartial, *blocks: int) -> None:
    for block in blocks:
        _write(partial, DATA[: min(BLOCK, SIZE - block * BLOCK)], block * BLOCK)


def _take(partial: DiskPartial) -> list[tuple[int, int]]:
    """All ranges that are left."""
    allocator, ranges = RangeAllocator(partial), list[tuple[int, int]]()
    while taken := allocator.take(1 << 40):
        ranges.append((taken.start, taken.end))
    return ranges


def test_what_was_synchronised_is_kept_and_goes_on_where_it_ended(tmp_path: Path) -> None:
    partial = _partial(tmp_path)
    _fill(partial, 0)
    _write(partial, DATA[:1000], BLOCK)
    _write(partial, DATA[:500], 2 * BLOCK)
    partial.sync()
    _write(partial, DATA[:7], BLOCK + 1000)  # what comes afterwards is not kept
    again = _partial(tmp_path)
    assert again.counted == BLOCK + 1500
    assert _take(again) == [(BLOCK + 1000, 2 * BLOCK), (2 * BLOCK + 500, SIZE)]
    assert _write(again, DATA[: BLOCK - 1000], BLOCK + 1000) == BLOCK - 1000
    _write(again, DATA[:100], 2 * BLOCK + 500)
    again.sync()
    assert _partial(tmp_path).counted == 2 * BLOCK + 600


def test_what_arrives_is_synchronised_beside_those_who_write_it(tmp_path: Path) -> None:
    large = HubFile("model.bin", 40 * BLOCK, "0" * 40, "b" * 64)
    partial = _partial(tmp_path, large)
    for block in range(40):
        _write(partial, DATA, block * BLOCK)
    assert _partial(tmp_path, large).counted >= large.size - (24 << 20), "more than may wait was not synchronised"


@pytest.mark.parametrize("line", ["1 ", "1 x", "1 \0\0", " 9", "9 9", "1 -5"])
def test_a_line_of_nonsense_keeps_nothing(tmp_path: Path, line: str) -> None:
    partial = _partial(tmp_path)
    _fill(partial, 0)
    partial.sync()
    with (tmp_path / "parts" / key(FILE)).with_suffix(".steps").open("a") as lines:
        lines.write(f"{line}\n")
    assert _partial(tmp_path).counted == BLOCK


def test_bytes_that_come_twice_count_once(tmp_path: Path) -> None:
    partial = _partial(tmp_path)
    assert [_write(partial, DATA[:count], 0) for count in (1000, 1000, 1500)] == [1000, 0, 500]
    assert partial.counted == 1500


@pytest.mark.parametrize("end", ["keep", "drop"])
def test_what_still_comes_for_a_partial_file_that_is_over_is_written_nowhere(tmp_path: Path, end: str) -> None:
    partial = _partial(tmp_path)
    _fill(partial, 0, 1, 2)
    if end == "keep":
        partial.keep()
    else:
        partial.drop()
    # The system gives a number that is free to whoever opens the next file.
    others = [os.open(tmp_path / f"other{number}", os.O_RDWR | os.O_CREAT) for number in range(2)]
    assert _write(partial, b"y" * 1000, BLOCK) == 0
    partial.sync()
    assert partial.is_given_up
    assert _take(partial) == []
    assert [os.fstat(other).st_size for other in others] == [0, 0]
    assert list((tmp_path / "parts").iterdir()) == []
    for other in others:
        os.close(other)


def test_a_line_that_a_power_failure_tore_does_not_become_another_blocks_number(tmp_path: Path) -> None:
    large = HubFile("model.bin", 40 * BLOCK, "0" * 40, "b" * 64)
    partial = _partial(tmp_path, large)
    _write(partial, DATA, 0)
    partial.sync()
    journal = (tmp_path / "parts" / key(large)).with_suffix(".steps")
    with journal.open("a") as lines:
        lines.write("3")
    again = _partial(tmp_path, large)
    assert _take(again)[0][0] == BLOCK
    _write(again, DATA, BLOCK)
    again.sync()
    last = _partial(tmp_path, large)
    assert journal.read_text() == "0\n1\n"
    assert last.counted == 2 * BLOCK


@pytest.mark.parametrize("refused", ["ftruncate", "fstat"])
def test_a_disk_that_refuses_to_open_a_partial_file_refuses_every_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EFBIG, "File too large")

    partial, before = _partial(tmp_path), set(opened(os.getpid()))
    with monkeypatch.context() as disk:
        disk.setattr(os, refused, refuse)
        for _ in range(3):
            with pytest.raises(OSError, match="File too large"):
                partial.reserve(0, SIZE)
    assert set(opened(os.getpid())) <= before
    partial.reserve(0, SIZE)
    _fill(partial, 0)
    partial.sync()
    assert _partial(tmp_path).counted == BLOCK


def test_room_is_taken_for_what_is_about_to_be_fetched_and_for_no_more(tmp_path: Path) -> None:
    large = HubFile("model.bin", 40 * BLOCK, "0" * 40, "b" * 64, xet=None)
    _partial(tmp_path, large).reserve(0, 2 * BLOCK)
    path = tmp_path / "parts" / key(large)
    assert path.stat().st_size == large.size
    probe = os.open(tmp_path / "probe", os.O_RDWR | os.O_CREAT)
    allocate(probe, 0, BLOCK)
    can = os.fstat(probe).st_blocks * 512 >= BLOCK
    os.close(probe)
    if not can:
        pytest.skip("this file system takes no room in advance")
    assert 2 * BLOCK <= path.stat().st_blocks * 512 < 4 * BLOCK


def test_a_partial_file_of_another_length_is_begun_anew(tmp_path: Path) -> None:
    partial = _partial(tmp_path)
    _fill(partial, 0)
    partial.sync()
    os.truncate(tmp_path / "parts" / key(FILE), SIZE - 1)
    assert _partial(tmp_path).counted == 0


def test_a_reader_waits_for_the_next_bytes_and_is_let_go_when_they_will_not_come(tmp_path: Path) -> None:
    partial = _partial(tmp_path)
    _fill(partial, 0)
    buffer = bytearray(1 << 20)
    assert partial.read(buffer, 0, NEVER) == len(buffer)
    got: list[int] = []
    reader = threading.Thread(target=lambda: got.append(partial.read(buffer, BLOCK, NEVER)))
    reader.start()
    _fill(partial, 1)
    reader.join(10)
    partial.abandon()
    assert [*got, partial.read(buffer, 2 * BLOCK, NEVER)] == [len(buffer), 0]
    assert partial.read(buffer, SIZE, NEVER) == 0
