"""A worker's own folder under the temporary directory; removes the folders that killed workers left there."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from app.probe import FOLDER

_LOCK = "worker.lock"
"""A file in the folder that stays locked while its worker lives."""

log = structlog.get_logger()


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a private folder and remove it at the end; after a crash, the next worker of this user removes it."""
    _remove_left()
    # It gets its final name only once it is locked: no other worker finds it unlocked while its worker lives.
    folder = Path(tempfile.mkdtemp(prefix=f".{FOLDER}"))
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = folder.rename(folder.with_name(folder.name.removeprefix(".")))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _remove_left() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        # Skip a folder of another user, without a lock file, or that another worker is removing now.
        with suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            lock = os.open(folder / _LOCK, os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
                log.info("removed the folder of a worker that was killed", folder=str(folder))
            finally:
                os.close(lock)
