"""A worker's folder under the temporary one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.probe import FOLDER
from worker.scratch import scratch

_HOLD = "from worker.scratch import scratch\nwith scratch() as folder:\n    print(folder, flush=True)\n    input()\n"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_is_there_for_the_block_and_gone_after_it(temporary: Path) -> None:
    with scratch() as folder:
        assert folder.parent == temporary
        assert folder.name.startswith(FOLDER)
        (folder / "hub").mkdir()
    assert list(temporary.iterdir()) == []


def test_the_folders_of_killed_workers_are_removed_and_no_others(temporary: Path) -> None:
    others = [temporary / f"{FOLDER}{os.getuid()}-redis", temporary / "anything"]
    for other in others:
        other.mkdir()
    (temporary / f"{FOLDER}link").symlink_to(others[1])
    (others[1] / "worker.lock").touch()
    with _worker(temporary) as (first, left), _worker(temporary) as (_, alive):
        first.kill()
        first.wait()
        assert left.is_dir()
        with scratch():
            assert not left.exists()
            assert alive.is_dir()
    assert all(other.is_dir() for other in others)


@contextmanager
def _worker(temporary: Path) -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    """A process that holds a folder, and the folder."""
    environment = os.environ | {"TMPDIR": str(temporary)}
    words = [sys.executable, "-c", _HOLD]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
        process.kill()
