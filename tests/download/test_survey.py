"""What is there already is found, and looking changes nothing."""

from pathlib import Path
from typing import Any, cast

from app.storage.posix import PosixStore
from tests.storage.attempts import attempt_at
from worker.download.elsewhere import Elsewhere
from worker.download.listing import HubFile
from worker.download.partials import Partials
from worker.download.survey import Survey

MIB = 1 << 20


def _file(path: str, size: int, letter: str) -> HubFile:
    return HubFile(path, size, "0" * 40, letter * 64)


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_file_is_found_where_its_content_is(tmp_path: Path) -> None:
    here, stale, twin = _file("here", 5, "a"), _file("stale", 6, "b"), _file("twin", 6, "b")
    linked, awaited, begun = _file("linked", 7, "c"), _file("awaited", 8, "d"), _file("begun", 3 * MIB, "e")
    storage = PosixStore(tmp_path / "storage")
    storage.prepare()
    (tmp_path / "other").write_bytes(b"x" * 7)
    elsewhere = Elsewhere(cast("Any", None), {"c" * 64: [str(tmp_path / "other")]}, frozenset({"d" * 64}))
    attempt = attempt_at()
    with storage.arrival(attempt) as arrival:
        (arrival.tree / "here").write_bytes(b"x" * 5)
        (arrival.tree / "stale").write_bytes(b"of another commit")
        (arrival.tree / "stray").write_bytes(b"x")
        earlier = Partials(arrival).open(begun)
        earlier.write([b"x" * MIB], 0, begun.size)
        earlier.sync()
        before = _content(tmp_path)
        found = Survey.of([here, stale, twin, linked, awaited, begun], arrival, elsewhere, Partials(arrival).open)
        assert _content(tmp_path) == before
    assert found.here == [here, linked]
    assert found.awaited == [awaited]
    assert found.awaited_checksums == ["d" * 64]
    assert found.absent == [twin, begun], "a content is listed once"
    assert list(found.partials) == [begun]
    assert found.missing == 6 + 2 * MIB
