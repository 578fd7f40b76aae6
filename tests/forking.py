"""Starts a depot's processes by forking one that has imported their modules, which take most of a start's second of CPU.

What such a process is and does is as if it were executed, but for its command line and its memory, which are partly
those of the process it was forked from. `multiprocessing` has that process.
"""

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import BinaryIO, Protocol

_MAINS = {"app.cli": "app.cli.main", "worker.main": "worker.main"}
_IMPORTED = [*_MAINS.values(), "app.cli.run", "tests.frozen"]


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


class Forked:
    """Runs `python -m words…` with that environment; it writes to `log`."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], log: BinaryIO) -> None:
        context = get_context("forkserver")
        context.set_forkserver_preload(_IMPORTED)
        self._process = context.Process(target=_run, args=(words, dict(environment), log.name))
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
        if self.poll() is None:
            os.kill(self.pid, sig)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _run(words: Sequence[str], environment: Mapping[str, str], log: str) -> None:
    os.setsid()
    with Path(log).open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.clear()
    os.environ.update(environment)
    main = importlib.import_module(_MAINS[words[0]])
    sys.argv[:] = [str(main.__file__), *words[1:]]
    main.main()
