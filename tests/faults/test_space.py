"""A disk that is too small, and repositories that mean harm: refused, with nothing written outside."""

import subprocess
from pathlib import Path

import pytest

from tests.fakehub.hub import Hub, Synthetic
from tests.faults.conftest import FILES, NAME, contents, published
from tests.faults.engine import UNDER_WAY, Engine
from worker.download.protocol import Failure

MIB = 1 << 20


def test_a_disk_that_fills_up_is_a_fault_with_figures_and_what_arrived_is_used_once_there_is_room(
    hub: Hub, small_disk: Path
) -> None:
    repo = hub.add(NAME, FILES)
    engine = Engine(hub, small_disk / "storage", NAME)
    # The engine by itself does not ask whether there is room: its worker does, before. Of several connections one could
    # find none before the first byte comes over the others.
    outcome = engine.run(connections=1)
    assert outcome.reason == "fault"
    assert not outcome.last(Failure).again
    assert "are still needed" in outcome.text
    assert not engine.storage.layout.published(engine.model_id).exists()
    sent = hub.bytes_sent()
    subprocess.run(["mount", "-o", "remount,size=256m", small_disk], check=True)
    outcome = engine.run()
    assert outcome.done, outcome.messages[-1]
    assert hub.bytes_sent() - sent < sum(map(len, contents(repo).values())) - 8 * MIB
    assert published(engine) == contents(repo)


@pytest.mark.parametrize(
    "path",
    [
        "../outside.bin",
        "folder/../../outside.bin",
        "/etc/outside.bin",
        "./here.bin",
        "a//b.bin",
        "nul\0byte.bin",
        "n" * 4000,
        "folder/" * 300 + "deep.bin",
        "config.json/inside.bin",
    ],
    ids=lambda path: path[:24].encode("unicode_escape").decode(),
)
def test_a_repository_whose_paths_lead_elsewhere_is_unsupported(hub: Hub, tmp_path: Path, path: str) -> None:
    hub.add(NAME, {"config.json": b"{}", path: b"harm"})
    engine = Engine(hub, tmp_path / "storage", NAME)
    outcome = engine.run()
    assert outcome.reason == "unsupported", outcome.text
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == []
    assert not Path("/etc/outside.bin").exists()


def test_names_that_differ_by_case_only_are_both_kept(hub: Hub, tmp_path: Path) -> None:
    repo = hub.add(NAME, {"README.md": b"upper", "readme.md": b"lower"})
    engine = Engine(hub, tmp_path / "storage", NAME)
    (tmp_path / "case").touch()
    if (tmp_path / "CASE").exists():
        pytest.skip("this file system takes them for one")
    assert engine.run().done
    assert published(engine) == contents(repo)


def test_a_repository_of_very_many_files_is_unsupported_and_says_how_to_select(hub: Hub, tmp_path: Path) -> None:
    hub.add(NAME, {f"{number}.txt": b"" for number in range(100_001)})
    outcome = Engine(hub, tmp_path / "storage", NAME).run()
    assert outcome.reason == "unsupported"
    assert "include" in outcome.text


def test_files_of_the_same_content_are_fetched_once(hub: Hub, tmp_path: Path) -> None:
    repo = hub.add(NAME, {name: Synthetic(12 * MIB, 3) for name in ("a.bin", "b.bin", "folder/c.bin")})
    engine = Engine(hub, tmp_path / "storage", NAME)
    assert engine.run().done
    assert 0 <= hub.bytes_sent() - 12 * MIB <= UNDER_WAY
    assert published(engine) == contents(repo)
