"""Olah, a mirror of the Hub that people run: a real process of it in front of the Hub on loopback."""

import subprocess
from pathlib import Path
from typing import Self

from tests.environments import NotInstalled, installed
from tests.fakehub.hub import Hub
from tests.faults.engine import CLEAN
from tests.processes import free_port, until

_VERSION = "0.5.4"
_NAME = f"olah-{_VERSION}"


def install() -> str:
    """Have it in its own environment. Return why that can't be, or nothing."""
    try:
        _program()
    except NotInstalled as error:
        return str(error)
    return ""


class Olah:
    """A mirror of `hub`, from `with` to the end of it. `folder` gets what it keeps."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self._hub, self._folder = hub, folder
        self._port = free_port()
        self.endpoint = f"http://127.0.0.1:{self._port}"
        self.trust: str | None = None

    def __enter__(self) -> Self:
        here = f"127.0.0.1:{self._port}"
        given = {
            "--host": "127.0.0.1",
            "--port": str(self._port),
            "--hf-scheme": "http",
            "--hf-netloc": _address(self._hub.endpoint),
            "--hf-lfs-netloc": _address(self._hub.cdn),
            "--mirror-netloc": here,
            "--mirror-lfs-netloc": here,
            "--repos-path": str(self._folder / "repositories"),
            "--log-path": str(self._folder / "logs"),
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [_program(), *(word for option in given.items() for word in option)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=CLEAN,
                cwd=self._folder,
            )
        until(lambda: "Uvicorn running" in self.said() or self._process.poll() is not None, self.said)
        assert self._process.poll() is None, self.said()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def said(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def _log(self) -> Path:
        return self._folder / "olah.log"


def _program() -> Path:
    return installed(_NAME, f"olah=={_VERSION}") / "olah-cli"


def _address(url: str) -> str:
    return url.removeprefix("http://")
