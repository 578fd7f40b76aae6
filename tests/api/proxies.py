"""Real proxies: nginx and Caddy, each run as a test configures it."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.standalone.supervisor import answers
from tests.processes import until


def check_installed(name: str) -> None:
    """Skip the test where there is no such proxy."""
    if not shutil.which(name):
        pytest.skip(f"there is no {name} here: apt-get install caddy nginx-light")


def temporary_folders(folder: Path) -> str:
    """Where nginx puts what it does not hold in memory."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)


@contextmanager
def running(command: list[str], folder: Path, port: int) -> Iterator[int]:
    """Run a proxy in its folder until the end of the block. Yields its port once it answers there."""
    with (folder / "log").open("wb") as log:
        environment = {"PATH": "/usr/bin:/bin:/usr/sbin", "HOME": str(folder)}
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        until(lambda: answers("127.0.0.1", port) or process.poll() is not None, (folder / "log").read_text)
        assert process.poll() is None, (folder / "log").read_text()
        yield port
    finally:
        process.terminate()
        process.wait()
