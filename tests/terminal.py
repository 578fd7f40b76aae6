"""The `modeldepot` command as people run it: a process, on a pseudo-terminal or with pipes."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Self

_COMMAND = str(Path(sys.executable).with_name("modeldepot"))
_ON_ITS_TERMINAL = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
for number in (signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Starts a command whose Ctrl-C is its terminal's, also where the tests run in the background, which ignores it."""


def modeldepot(environment: Mapping[str, str], *words: str, given: str = "") -> "subprocess.CompletedProcess[str]":
    """What it printed and how it ended; `given` is its standard input."""
    command = [_COMMAND, *words]
    return subprocess.run(
        command, env=dict(environment), input=given, capture_output=True, text=True, timeout=60, check=False
    )


class Terminal:
    """One command on a terminal of its own, from `with` to the end of it, in `folder`.

    Its standard output goes into a file there or, with `whole`, to the terminal, too.
    """

    def __init__(
        self, folder: Path, environment: Mapping[str, str], *words: str, columns: int = 100, whole: bool = False
    ) -> None:
        self._folder, self._output = folder, folder / "output"
        self._environment = {name: value for name, value in environment.items() if name not in {"COLUMNS", "LINES"}}
        self._words, self._columns = words, columns
        self._whole = whole
        self._shown = bytearray()

    def __enter__(self) -> Self:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, self._columns, 0, 0))
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _ON_ITS_TERMINAL, _COMMAND, *self._words],
                env=self._environment,
                stdin=slave,
                stdout=slave if self._whole else output,
                stderr=slave,
                cwd=self._folder,
                start_new_session=True,
            )
        os.close(slave)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        os.close(self._master)

    @property
    def shown(self) -> str:
        """All that it ever showed, with a line for each time that it drew its line anew."""
        return self._shown.decode(errors="replace").replace("\r", "\n")

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def lines(self) -> list[str]:
        """What it has shown, line by line, without the empty ones."""
        return [line for line in self.shown.split("\n") if line]

    def press(self, key: bytes) -> None:
        os.write(self._master, key)

    def ends(self, within: float = 30.0) -> int:
        """Its exit code, once all that it showed is here."""
        code = self.process.wait(within)
        self._reader.join(within)
        return code

    def _read(self) -> None:
        try:
            while some := os.read(self._master, 4096):
                self._shown += some
        except OSError:  # EIO, once nobody has the terminal open any more
            pass
