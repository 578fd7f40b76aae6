"""A file in flight: its bytes count once, and only those that are really there are kept for the next attempt."""

import errno
import os
import threading
from pathlib import Path

import pytest

from app.storage.arrival import PosixArrival
from worker.download.allocation import allocate
from worker.download.flusher import Flusher
from worker.download.listing import HubFile
from worker.download.partial import Part, key
from worker.download.pieces import STEP, Piece

SIZE = 3 * STEP - 100
FILE = HubFile("model.bin", SIZE, "0" * 40, "a" * 64)
DATA = b"x" * STEP
NEVER = threading.Event()


def _part(folder: Path, file: HubFile = FILE) -> Part:
    return Part(file, folder, Flusher())


def _write(part: Part, data: bytes, offset: int) -> int:
    return part.write(Piece(offset, part.file.size), [data])


def _fill(part: Part, *steps: int) -> None:
    for step in steps:
        _write(part, DATA[: min(STEP, SIZE - step * STEP)], step * STEP)


def _take(part: Part, length: int = 1 << 40) -> tuple[int, int] | None:
    piece = part.take(length)
    return (piece.start, piece.end) if piece else None


def test_what_was_synchronised_is_kept_and_goes_on_where_it_ended(tmp_path: Path) -> None:
    part = _part(tmp_path)
    assert _take(part) == (0, SIZE)
    _fill(part, 0)
    _write(part, DATA[:1000], STEP)
    _write(part, DATA[:500], 2 * STEP)
    part.sync()
    _write(part, DATA[:7], STEP + 1000)  # what comes afterwards is not kept
    again = _part(tmp_path)
    assert again.counted == STEP + 1500
    assert [_take(again), _take(again), _take(again)] == [(STEP + 1000, 2 * STEP), (2 * STEP + 500, SIZE), None]
    assert _write(again, DATA[: STEP - 1000], STEP + 1000) == STEP - 1000
    _write(again, DATA[:100], 2 * STEP + 500)
    again.sync()
    assert _part(tmp_path).counted == 2 * STEP + 600


def test_what_arrives_is_synchronised_beside_those_who_write_it(tmp_path: Path) -> None:
    large = HubFile("model.bin", 40 * STEP, "0" * 40, "b" * 64)
    part = _part(tmp_path, large)
    _take(part)
    for step in range(40):
        _write(part, DATA, step * STEP)
    assert _part(tmp_path, large).counted >= large.size - (24 << 20), "more than may wait was not synchronised"


def test_a_synchronisation_that_fails_is_told_to_who_writes() -> None:
    class Broken:
        def sync(self) -> None:
            raise OSError(5, "Input/output error")

    flusher = Flusher()
    with pytest.raises(OSError, match="Input/output"):
        flusher.wrote(Broken(), 8 * STEP)


def test_chunks_reach_over_steps_and_end_where_another_connection_begins(tmp_path: Path) -> None:
    part = _part(tmp_path)
    piece = part.take(SIZE)
    assert piece
    other = part.divide(piece)
    assert other
    assert (piece.end, other.start, other.end) == (2 * STEP, 2 * STEP, SIZE)
    assert part.write(piece, [DATA[:1000]] * 3000) == 3_000_000
    assert part.write(piece, [DATA] * 3) == 2 * STEP - 3_000_000
    assert piece.start == piece.end
    assert part.counted == 2 * STEP
    assert part.path.read_bytes()[: 2 * STEP] == DATA * 2


def test_what_is_given_back_is_taken_by_another_connection(tmp_path: Path) -> None:
    part = _part(tmp_path)
    piece = part.take(SIZE)
    assert piece
    part.write(piece, [DATA[:1000]])
    assert part.is_taken
    part.give_back(piece)
    assert _take(part, STEP) == (1000, STEP)
    assert _take(part, 9 * STEP) == (STEP, SIZE)


@pytest.mark.parametrize("line", ["1 ", "1 x", "1 \0\0", " 9", "9 9", "1 -5"])
def test_a_line_of_nonsense_keeps_nothing(tmp_path: Path, line: str) -> None:
    part = _part(tmp_path)
    _take(part)
    _fill(part, 0)
    part.sync()
    with (tmp_path / key(FILE)).with_suffix(".steps").open("a") as lines:
        lines.write(f"{line}\n")
    assert _part(tmp_path).counted == STEP


def test_bytes_that_come_twice_count_once(tmp_path: Path) -> None:
    part = _part(tmp_path)
    _take(part)
    assert [_write(part, DATA[:count], 0) for count in (1000, 1000, 1500)] == [1000, 0, 500]
    assert part.counted == 1500


@pytest.mark.parametrize("end", ["keep", "drop"])
def test_what_still_comes_for_a_part_that_is_over_is_written_nowhere(tmp_path: Path, end: str) -> None:
    part = _part(tmp_path)
    _take(part)
    _fill(part, 0, 1, 2)
    if end == "keep":
        part.keep(PosixArrival(tmp_path, tmp_path))
    else:
        part.drop()
    # The system gives a number that is free to whoever opens the next file.
    others = [os.open(tmp_path / f"other{number}", os.O_RDWR | os.O_CREAT) for number in range(2)]
    assert _write(part, b"y" * 1000, STEP) == 0
    part.sync()
    assert part.given_up
    assert _take(part) is None
    assert [os.fstat(other).st_size for other in others] == [0, 0]
    assert [path.name for path in tmp_path.glob("a*")] == []
    for other in others:
        os.close(other)


def test_a_line_that_a_power_failure_tore_does_not_become_another_steps_number(tmp_path: Path) -> None:
    small_steps = HubFile("model.bin", 40 * STEP, "0" * 40, "b" * 64)
    part = _part(tmp_path, small_steps)
    _take(part)
    _write(part, DATA, 0)
    part.sync()
    journal = (tmp_path / key(small_steps)).with_suffix(".steps")
    with journal.open("a") as lines:
        lines.write("3")
    again = _part(tmp_path, small_steps)
    assert (_take(again) or (0, 0))[0] == STEP
    _write(again, DATA, STEP)
    again.sync()
    last = _part(tmp_path, small_steps)
    assert journal.read_text() == "0\n1\n"
    assert last.counted == 2 * STEP


@pytest.mark.parametrize("refused", ["ftruncate", "fstat"])
def test_a_disk_that_refuses_to_open_a_part_refuses_every_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EFBIG, "File too large")

    part, before = _part(tmp_path), len(list(Path("/proc/self/fd").iterdir()))
    with monkeypatch.context() as disk:
        disk.setattr(os, refused, refuse)
        for _ in range(3):
            with pytest.raises(OSError, match="File too large"):
                _take(part)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert _take(part) == (0, SIZE)
    _fill(part, 0)
    part.sync()
    assert _part(tmp_path).counted == STEP


def test_room_is_taken_for_what_is_about_to_be_fetched_and_for_no_more(tmp_path: Path) -> None:
    large = HubFile("model.bin", 40 * STEP, "0" * 40, "b" * 64, xet=None)
    part = _part(tmp_path, large)
    assert _take(part, 2 * STEP) == (0, 2 * STEP)
    path = tmp_path / key(large)
    assert path.stat().st_size == large.size
    probe = os.open(tmp_path / "probe", os.O_RDWR | os.O_CREAT)
    allocate(probe, 0, STEP)
    can = os.fstat(probe).st_blocks * 512 >= STEP
    os.close(probe)
    if not can:
        pytest.skip("this file system takes no room in advance")
    assert 2 * STEP <= path.stat().st_blocks * 512 < 4 * STEP


def test_a_part_of_another_length_is_begun_anew(tmp_path: Path) -> None:
    part = _part(tmp_path)
    _take(part)
    _fill(part, 0)
    part.sync()
    os.truncate(tmp_path / key(FILE), SIZE - 1)
    assert _part(tmp_path).counted == 0


def test_a_reader_waits_for_the_next_bytes_and_is_let_go_when_they_will_not_come(tmp_path: Path) -> None:
    part = _part(tmp_path)
    _take(part)
    _fill(part, 0)
    block = bytearray(1 << 20)
    assert part.read(block, 0, NEVER) == len(block)
    got: list[int] = []
    reader = threading.Thread(target=lambda: got.append(part.read(block, STEP, NEVER)))
    reader.start()
    _fill(part, 1)
    reader.join(10)
    part.abandon()
    assert [*got, part.read(block, 2 * STEP, NEVER)] == [len(block), 0]
    assert part.read(block, SIZE, NEVER) == 0


def test_a_server_without_ranges_serves_one_connection_only(tmp_path: Path) -> None:
    part = _part(tmp_path)
    whole = part.take_all()
    assert whole
    assert (whole.start, whole.end, part.take_all(), _take(part)) == (0, SIZE, None, None)


def test_connections_stay_within_reach_of_the_hasher_but_never_wait_for_what_was_there_at_the_start(
    tmp_path: Path,
) -> None:
    large = HubFile("large.bin", 200 * STEP, "0" * 40, "b" * 64)
    (tmp_path / "fresh").mkdir()
    fresh = _part(tmp_path / "fresh", large)
    taken = _all(fresh)
    assert 0 < taken[-1][1] < large.size
    assert not fresh.is_taken
    block = bytearray(1)
    for step in range(9):
        _write(fresh, DATA, step * STEP)
        fresh.read(block, step * STEP, NEVER)
    assert _all(fresh)[0][0] == taken[-1][1]

    (tmp_path / "begun").mkdir()
    begun = _part(tmp_path / "begun", large)
    _take(begun)
    _write(begun, DATA, 0)
    begun.sync()
    assert _all(_part(tmp_path / "begun", large))[-1][1] == large.size


def _all(part: Part) -> list[tuple[int, int]]:
    pieces = []
    while piece := _take(part, 8 * STEP):
        pieces.append(piece)
    return pieces
