"""Whether this container's process works: `python -m app.probe`, the image's health check.

A worker renews a file at each poll for work; the API answers at /healthz. The check runs every few seconds, so it
imports only a little of the standard library.
"""

import http.client
import os
import ssl
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

FOLDER = "modeldepot-"
"""Name prefix of a process's own folder in the temporary directory."""
_PULSE = "pulse"
_PATIENCE = 3.0
"""Seconds that the API may take to answer."""
_SLACK = 30.0
"""Seconds that a poll may be late, because the database is slow to answer or to refuse."""


class Pulse:
    """A worker's liveness file, in its own folder."""

    def __init__(self, folder: Path, interval: float) -> None:
        """`interval` is the longest time between two polls, in seconds."""
        self._file = folder / _PULSE
        self._good_for = 2 * interval + _SLACK

    def beat(self) -> None:
        fresh = self._file.with_suffix(".new")
        with suppress(OSError):  # a full temporary folder stops no worker; the check reports the expired file
            fresh.write_text(str(time.monotonic() + self._good_for))
            fresh.replace(self._file)


def main() -> None:
    """Exit 0 if the process works; otherwise print why and exit 1."""
    pulses = list(Path(tempfile.gettempdir()).glob(f"{FOLDER}*/{_PULSE}"))
    problem = _of_a_worker(pulses) if pulses else _of_the_api(int(os.environ.get("DEPOT_PORT") or 8080))
    if problem:
        sys.exit(problem)


def connection_to(host: str, port: int, *, timeout: float, tls: bool) -> http.client.HTTPConnection:
    """Return a connection to an API on this machine, without checking its certificate."""
    if not tls:
        return http.client.HTTPConnection(host, port, timeout=timeout)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)


def _of_a_worker(pulses: list[Path]) -> str:
    """Return what is wrong, or "". A crash may leave an older process's file: the one valid longest counts."""
    late = time.monotonic() - max(float(pulse.read_text()) for pulse in pulses)
    return f"the worker should have looked for work {late:.0f} s ago" if late > 0 else ""


def _of_the_api(port: int) -> str:
    try:
        connection = connection_to(
            "127.0.0.1", port, timeout=_PATIENCE, tls=bool(os.environ.get("DEPOT_TLS_CERTIFICATE"))
        )
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"the API at port {port} doesn't answer: {error}"
    return "" if status == http.client.OK else f"the API at port {port} answers {status}"


if __name__ == "__main__":
    main()
