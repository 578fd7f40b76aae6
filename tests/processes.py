"""What tests of whole processes need: a free port, a way to wait for what is to happen, and a look into /proc."""

import random
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

BUSY = 20.0
"""Seconds that a busy machine may add to what takes a moment. A test's bound on a time leaves room for that, and is still
far below what the fault that it looks for would take."""
_SHORTEST, _LONGEST = 0.01, 0.1
"""Seconds between two looks at what a test waits for."""


def free_port() -> int:
    """A port that nothing listens on at the moment, on any address of this machine.

    It is below those that systems give to outgoing connections: one of these may have it before the test's server does.
    """
    while True:
        port = random.randrange(10_000, 32_000)
        with suppress(OSError), socket.create_server(("", port)):
            return port


def until(condition: Callable[[], object], told: Callable[[], str], within: float = 60.0) -> None:
    """Wait for `condition`; the test fails with what `told` returns when it does not come within so many seconds."""
    deadline = time.monotonic() + within
    pause = _SHORTEST
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"it didn't happen within {within} seconds:\n{told()}")
        time.sleep(pause)
        # Most looks are requests: what waits for a second must not take a processor from what it waits for.
        pause = min(pause * 1.2, _LONGEST)


def processes() -> list[int]:
    """The ids of all there are, those that have ended and wait for their parents included."""
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def opened(pid: int) -> list[str]:
    """What a process has open: a path, or a kind and a number, such as `socket:[123]`. What it closes meanwhile is not told."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(str(entry.readlink()))
    return found


def alive(pid: int) -> bool:
    """Whether it runs or is stopped; one that has ended and only waits for its parent does not."""
    return _fields(pid)[:1] not in ([], ["Z"], ["X"])


def parent_of(pid: int) -> int:
    """0 once it is gone."""
    fields = _fields(pid)
    return int(fields[1]) if fields else 0


def family(pid: int) -> list[int]:
    """A process and all that it started, and so on."""
    parents = {one: parent_of(one) for one in processes()}
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def said(pid: int, what: str) -> str:
    """Of `cmdline` or `environ`; empty once the process is gone."""
    try:
        return Path(f"/proc/{pid}/{what}").read_text(errors="replace")
    except OSError:
        return ""


def _fields(pid: int) -> list[str]:
    """Of `/proc/PID/stat`, from the state on."""
    return said(pid, "stat").rpartition(")")[2].split()
