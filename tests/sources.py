"""The sources of versions before this one, out of the history that a clone has."""

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def version_before(path: str, folder: Path) -> Path:
    """The version before the one that brought the file at `path`, in `folder`. Skips the test where there is no history."""
    try:
        added = _git("log", "--diff-filter=A", "--format=%H", "-1", "--", path).decode().strip()
        archive = _git("archive", f"{added}^", "app", "worker", "alembic")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("the history of the sources is not here: there is no version before this one to run")
    with tarfile.open(fileobj=io.BytesIO(archive)) as sources:
        sources.extractall(folder, filter="data")
    told = subprocess.run(
        [sys.executable, "-c", "import app, worker; print(app.__file__, worker.__file__)"],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    assert told.stdout.count(str(folder)) == 2, "what starts there is this version"
    return folder


def _git(*words: str) -> bytes:
    return subprocess.run(["git", "-C", str(ROOT), *words], check=True, capture_output=True).stdout
