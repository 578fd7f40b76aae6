"""Starts a depot's processes by forking one that has imported their modules, which take most of a start's second of CPU.

What such a process is and does is as if it were executed, but for its command line and its memory, which are partly
those of the process it was forked from. `multiprocessing` has that process. A worker executes another process, which
forks its downloads: in its place one is forked, too.
"""

import asyncio
import ctypes
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol, cast

from huggingface_hub import constants

from tests.processes import alive
from worker.download import forkserver
from worker.download import main as download
from worker.processes import ForkServer

DOWNLOADS = "downloads"
"""The name of what forks a worker's downloads, where it is forked itself, and so of these."""
_MAINS = {"app.cli": "app.cli.main", "worker.main": "worker.main"}
_IMPORTED = [*_MAINS.values(), "app.cli.run", "app.storage.s3.store", __name__, "tests.frozen"]
_PR_SET_NAME = 15


class Process(Protocol):
    """What tests use of `subprocess.Popen`."""

    pid: int

    @property
    def returncode(self) -> int | None: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


class _Child:
    """A process that calls a function."""

    def __init__(self, target: Callable[..., None], *given: object) -> None:
        context = get_context("forkserver")
        context.set_forkserver_preload(_IMPORTED)
        self._process = context.Process(target=target, args=given)
        self._process.start()
        assert self._process.pid
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        return self._process.exitcode

    def send_signal(self, sig: int) -> None:
        # One that has ended is reaped by what forked it, maybe before this process knows.
        with suppress(ProcessLookupError):
            if self.poll() is None:
                os.kill(self.pid, sig)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Forked(_Child):
    """Runs `python -m words…` with that environment; it writes to `log`."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], log: BinaryIO) -> None:
        super().__init__(_run, words, dict(environment), log.name)


class ForkedDownload(_Child):
    """Runs `python -m worker.download.main` with that environment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        (job, stdin), (stdout, answers) = (get_context("forkserver").Pipe(duplex=False) for _ in range(2))
        super().__init__(_run_download, dict(environment), job, answers)
        job.close()
        answers.close()
        self.stdin: IO[bytes] = os.fdopen(os.dup(stdin.fileno()), "wb")
        self.stdout: IO[bytes] = os.fdopen(os.dup(stdout.fileno()), "rb")
        stdin.close()
        stdout.close()


def _run(words: Sequence[str], environment: Mapping[str, str], log: str) -> None:
    os.setsid()
    with Path(log).open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    _be_in(environment)
    if words[0] == "worker.main":
        ForkServer.start = _starter()  # type: ignore[method-assign]
    main = importlib.import_module(_MAINS[words[0]])
    sys.argv[:] = [str(main.__file__), *words[1:]]
    main.main()


def _run_download(environment: Mapping[str, str], job: Connection, answers: Connection) -> None:
    os.dup2(job.fileno(), 0)
    os.dup2(answers.fileno(), 1)
    job.close()
    answers.close()
    _be_in(environment)
    download.main()


def _be_in(environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    sys.stdin = os.fdopen(0, closefd=False)  # multiprocessing has opened another
    importlib.reload(constants)  # of the environment


class _ForkServerProcess:
    """What `ForkServer` uses of `asyncio.subprocess.Process`. It is no child of this process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    async def wait(self) -> None:
        while alive(self.pid):  # noqa: ASYNC110  # which tells nobody
            await asyncio.sleep(0.01)


def _starter() -> Callable[..., Coroutine[Any, Any, ForkServer]]:
    """What starts a fork server, for a process that has no threads yet: a child of it forks them, which has none later."""
    asks, asked = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if not os.fork():
        asks.close()
        _fork_as_asked(asked)
        os._exit(0)
    asked.close()

    async def start(environment: Mapping[str, str], preload: Sequence[str]) -> ForkServer:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            socket.send_fds(asks, [json.dumps([environment, preload]).encode()], [theirs.fileno()])
        process = _ForkServerProcess(int(asks.recv(100)))
        return ForkServer(cast("asyncio.subprocess.Process", process), ours)

    return start


def _fork_as_asked(asked: socket.socket) -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(ignored, signal.SIG_IGN)
    while True:
        data, descriptors, _, _ = socket.recv_fds(asked, 1 << 20, 1)
        if not data:
            return
        if not (pid := os.fork()):
            asked.close()
            for heeded in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
                signal.signal(heeded, signal.SIG_DFL)
            environment, preload = json.loads(data)
            _be_fork_server(environment, preload, descriptors[0])
            os._exit(0)
        os.close(descriptors[0])
        asked.send(str(pid).encode())


def _be_fork_server(environment: Mapping[str, str], preload: Sequence[str], line: int) -> None:
    os.setpgid(0, 0)
    os.dup2(line, 0)
    os.close(line)
    _be_in(environment)
    ctypes.CDLL(None).prctl(_PR_SET_NAME, DOWNLOADS.encode())
    sys.argv[1:] = preload
    forkserver.main()
