"""A file in flight: its bytes count once, and only those that are really there are kept for the next attempt."""

import errno
import os
import threading
from pathlib import Path

import pytest

from worker.listing import HubFile
from worker.parts import STEP, Part, key

SIZE = 3 * STEP - 100
FILE = HubFile("model.bin", SIZE, "0" * 40, "a" * 64, xet=False)
DATA = b"x" * STEP
NEVER = threading.Event()


def _fill(part: Part, *steps: int) -> None:
    for step in steps:
        part.write(DATA[: min(STEP, SIZE - step * STEP)], step * STEP)


def test_only_whole_steps_are_kept_for_the_next_attempt(tmp_path: Path) -> None:
    part = Part(FILE, tmp_path)
    assert part.take() == (0, SIZE)
    _fill(part, 0, 2)
    assert part.write(DATA[:1000], STEP) == 1000
    again = Part(FILE, tmp_path)
    assert again.counted == SIZE - STEP
    assert again.take() == (STEP, 2 * STEP)
    assert again.take() is None


def test_what_is_saved_of_unfinished_steps_is_kept_too_and_goes_on_where_it_ended(tmp_path: Path) -> None:
    part = Part(FILE, tmp_path)
    part.take()
    _fill(part, 0)
    part.write(DATA[:1000], STEP)
    part.write(DATA[:500], 2 * STEP)
    part.save()
    part.write(DATA[:7], STEP + 1000)  # what comes afterwards is not kept
    again = Part(FILE, tmp_path)
    assert again.counted == STEP + 1500
    assert [again.take(), again.take(), again.take()] == [(STEP + 1000, 2 * STEP), (2 * STEP + 500, SIZE), None]
    assert again.write(DATA[: STEP - 1000], STEP + 1000) == STEP - 1000
    again.write(DATA[:100], 2 * STEP + 500)
    again.save()
    assert Part(FILE, tmp_path).counted == 2 * STEP + 600


@pytest.mark.parametrize("line", ["1 ", "1 x", "1 \0\0", " 9", "9 9", "1 -5"])
def test_a_line_of_nonsense_keeps_nothing(tmp_path: Path, line: str) -> None:
    part = Part(FILE, tmp_path)
    part.take()
    _fill(part, 0)
    with (tmp_path / key(FILE)).with_suffix(".steps").open("a") as lines:
        lines.write(f"{line}\n")
    assert Part(FILE, tmp_path).counted == STEP


def test_bytes_that_come_twice_count_once(tmp_path: Path) -> None:
    part = Part(FILE, tmp_path)
    part.take()
    assert [part.write(DATA[:1000], 0), part.write(DATA[:1000], 0), part.write(DATA[:1500], 0)] == [1000, 0, 500]
    assert part.counted == 1500


@pytest.mark.parametrize("end", ["keep", "drop"])
def test_what_still_comes_for_a_part_that_is_over_is_written_nowhere(tmp_path: Path, end: str) -> None:
    part = Part(FILE, tmp_path)
    part.take()
    _fill(part, 0, 1, 2)
    if end == "keep":
        part.keep(tmp_path / "kept")
    else:
        part.drop()
    # The system gives a number that is free to whoever opens the next file.
    others = [os.open(tmp_path / f"other{number}", os.O_RDWR | os.O_CREAT) for number in range(2)]
    assert part.write(b"y" * 1000, STEP) == 0
    assert part.given_up
    assert part.take() is None
    assert [os.fstat(other).st_size for other in others] == [0, 0]
    assert [path.name for path in tmp_path.glob("a*")] == []
    for other in others:
        os.close(other)


def test_a_line_that_a_power_failure_tore_does_not_become_another_steps_number(tmp_path: Path) -> None:
    small_steps = HubFile("model.bin", 40 * STEP, "0" * 40, "b" * 64, xet=False)
    part = Part(small_steps, tmp_path)
    part.take()
    part.write(DATA, 0)
    journal = (tmp_path / key(small_steps)).with_suffix(".steps")
    with journal.open("a") as lines:
        lines.write("3")
    again = Part(small_steps, tmp_path)
    assert (again.take() or (0, 0))[0] == STEP
    again.write(DATA, STEP)
    last = Part(small_steps, tmp_path)
    assert journal.read_text() == "0\n1\n"
    assert last.counted == 2 * STEP


@pytest.mark.parametrize("refused", ["ftruncate", "fstat"])
def test_a_disk_that_refuses_to_open_a_part_refuses_every_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EFBIG, "File too large")

    part, before = Part(FILE, tmp_path), len(list(Path("/proc/self/fd").iterdir()))
    with monkeypatch.context() as disk:
        disk.setattr(os, refused, refuse)
        for _ in range(3):
            with pytest.raises(OSError, match="File too large"):
                part.take()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert part.take() is not None
    _fill(part, 0)
    assert Part(FILE, tmp_path).counted == STEP


def test_a_part_of_another_length_is_begun_anew(tmp_path: Path) -> None:
    part = Part(FILE, tmp_path)
    part.take()
    _fill(part, 0)
    os.truncate(tmp_path / key(FILE), SIZE - 1)
    assert Part(FILE, tmp_path).counted == 0


def test_a_reader_waits_for_the_next_bytes_and_is_let_go_when_they_will_not_come(tmp_path: Path) -> None:
    part = Part(FILE, tmp_path)
    part.take()
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
    part = Part(FILE, tmp_path)
    assert [part.take_all(), part.take_all(), part.take()] == [True, False, None]


def test_connections_stay_within_reach_of_the_hasher_but_never_wait_for_what_was_there_at_the_start(
    tmp_path: Path,
) -> None:
    large = HubFile("large.bin", 200 * STEP, "0" * 40, "b" * 64, xet=False)
    fresh = Part(large, tmp_path / "fresh")
    fresh.path.parent.mkdir()
    taken = _all(fresh)
    assert 0 < taken[-1][1] < large.size
    assert not fresh.is_taken
    block = bytearray(1)
    for step in range(9):
        fresh.write(DATA, step * STEP)
        fresh.read(block, step * STEP, NEVER)
    assert _all(fresh)[0][0] == taken[-1][1]

    begun = Part(large, tmp_path / "begun")
    begun.path.parent.mkdir()
    begun.take()
    begun.write(DATA, 0)
    assert _all(Part(large, tmp_path / "begun"))[-1][1] == large.size


def _all(part: Part) -> list[tuple[int, int]]:
    pieces = []
    while piece := part.take():
        pieces.append(piece)
    return pieces
