"""The data folder of `modeldepot up`, and the lock that lets one `up` use it at a time."""

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

from sqlalchemy.engine import URL

from app.domain.keys import new_id, new_secret
from app.local import NoKey, address_file, key_file, read_key
from app.sealing import new_key
from app.standalone.redis import RedisServer

_REMNANTS = 12.0
"""Seconds that the parts of a killed `up` may take to notice and stop."""


class CannotRun(Exception):
    """Something on this machine prevents the start. The message is one line that says what."""


@dataclass(frozen=True)
class DataFolder:
    """The data of `up`, in one folder that only its owner can read."""

    path: Path

    @cached_property
    def redis(self) -> RedisServer:
        return RedisServer(self.path / "redis")

    @property
    def storage(self) -> Path:
        return self.path / "storage"

    @property
    def database_url(self) -> str:
        return URL.create("sqlite", database=str(self.path / "depot.sqlite3")).render_as_string()

    @property
    def key(self) -> Path:
        return self.path / "secret.key"

    @property
    def api_key(self) -> Path:
        """`<id>:<secret>`, as it is sent after `Bearer`."""
        return key_file(self.path)

    def prepare(self) -> None:
        """Create the folder, its storage and its keys unless they exist. Raises `OSError`."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not any(self.path.iterdir()):  # A folder with contents may have other users.
            with suppress(PermissionError):
                self.path.chmod(0o700)
        self.storage.mkdir(exist_ok=True)
        _keep(self.key, new_key)
        _keep(self.api_key, lambda: f"{new_id()}:{new_secret()}")

    def own_api_key(self) -> tuple[str, str]:
        """Return the id and secret of the folder owner's API key. Raises `CannotRun`."""
        try:
            return read_key(self.api_key)
        except NoKey as error:
            raise CannotRun(str(error)) from None

    def say_where(self, address: str) -> None:
        """Write the API's address for the clients on this machine."""
        with suppress(OSError):  # it is a convenience: a full disk stops no depot
            address_file(self.path).write_text(f"{address}\n")

    @contextmanager
    def claimed(self) -> Iterator[int]:
        """Lock out every other `up`. Yield a lock that the parts inherit: it is held while any of them lives.

        Raises `CannotRun`: at once if an `up` is alive; if it was killed, only after its parts had time to stop.
        """
        with _opened(self.path / "up.lock") as ours, _opened(self.path / "parts.lock") as theirs:
            if not _lock(ours):
                ours.seek(0)
                raise CannotRun(f"{self.path} is in use by another `modeldepot up`, process {ours.read()}")
            ours.truncate(0)
            ours.write(str(os.getpid()))
            ours.flush()
            deadline = time.monotonic() + _REMNANTS
            while not _lock(theirs):
                if time.monotonic() > deadline:
                    raise CannotRun(f"parts of a killed `modeldepot up` still run in {self.path}: end them first")
                time.sleep(0.1)
            yield theirs.fileno()


def _keep(path: Path, make: Callable[[], str]) -> None:
    """Write what `make` returns to a file that only its owner can read, unless it exists."""
    if path.exists():
        return
    descriptor, name = tempfile.mkstemp(dir=path.parent)  # Mode 0600.
    new, made = Path(name), make() + "\n"
    _write(descriptor, made)
    try:
        path.hardlink_to(new)  # A link, unlike a rename, never replaces a file.
    except FileExistsError:  # Another `up` was first.
        pass
    except OSError:  # The file system may have no hard links.
        with suppress(FileExistsError):
            _write(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), made)
    new.unlink()


def _write(descriptor: int, text: str) -> None:
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)


def _opened(path: Path) -> IO[str]:
    try:
        return path.open("a+")
    except OSError as error:
        raise CannotRun(f"can't use {path}: {error.strerror}") from None


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise CannotRun(f"can't lock {file.name}: {error.strerror}") from None
    return True
