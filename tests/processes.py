"""What tests of whole processes need: a free port, and a way to wait for what is to happen."""

import socket
import time
from collections.abc import Callable

import pytest


def free_port() -> int:
    """A port on loopback that nothing listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def until(condition: Callable[[], object], told: Callable[[], str], within: float = 20.0) -> None:
    """Wait for `condition`; the test fails with what `told` returns when it does not come within so many seconds."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"it didn't happen within {within} seconds:\n{told()}")
        time.sleep(0.02)
