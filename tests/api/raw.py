"""What tests of the server's connections share: sockets, what is heard on them, and how much memory the API took."""

import json
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.api import contract
from tests.depot import CREDENTIALS, Depot
from tests.processes import said

BUSY = 20.0
"""Seconds more that a busy machine may take."""
AUTHORIZATION = f"Authorization: {CREDENTIALS['Authorization']}\r\n".encode()
POST = b"POST /v2/ai/model HTTP/1.1\r\nHost: depot\r\nContent-Type: application/json\r\n" + AUTHORIZATION
GET = b"GET /healthz HTTP/1.1\r\nHost: depot\r\n"


@contextmanager
def api_alone(migrated_sqlite: Path, folder: Path, client_timeout: float) -> Iterator[Depot]:
    """An API with so much patience, and no worker."""
    shutil.copy(migrated_sqlite, folder / "depot.sqlite3")
    depot = Depot(
        folder,
        database_url=f"sqlite:///{folder / 'depot.sqlite3'}",
        redis_url="redis://127.0.0.1:1/0",
        hub_endpoint="http://127.0.0.1:9",
        workers=0,
        client_timeout=client_timeout,
    )
    try:
        yield depot
    finally:
        depot.close()
    assert "Traceback" not in depot.logs()


def connect(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=BUSY)
    client.settimeout(BUSY)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def heard(client: socket.socket) -> bytes:
    """All that the server says until it closes."""
    said = b""
    try:
        while part := client.recv(65_536):
            said += part
    except ConnectionError:
        pass
    return said


def answer_on(client: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """The next answer: its status, headers and body, of as many bytes as its head tells."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        one = client.recv(1)
        assert one, f"the server closed after {head!r}"
        head += one
    first, *lines = head.decode().lower().rstrip().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    body = b""
    while len(body) < int(headers["content-length"]):
        part = client.recv(int(headers["content-length"]) - len(body))
        assert part, f"the server closed within {body!r}"
        body += part
    return int(first.split()[1]), headers, body


def is_refused(answer: bytes, status: int) -> None:
    """In the shape of all errors, with the headers of all answers."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().lower().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert first.startswith(f"http/1.1 {status} "), answer
    problem: dict[str, Any] = json.loads(body)
    contract.check(contract.ERROR, problem)
    assert problem["status"] == status
    assert (headers["content-type"], headers["connection"]) == ("application/json", "close")
    assert headers["x-content-type-options"] == "nosniff"


class Memory:
    """The most that a process had in memory since this was made, beyond what it had then."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # resets the kernel's own record of the most
        self._before = self._told("VmRSS")

    def grown(self) -> int:
        """Bytes."""
        return self._told("VmHWM") - self._before

    def _told(self, name: str) -> int:
        found = re.search(rf"{name}:\s+(\d+) kB", said(self._pid, "status"))
        assert found
        return int(found[1]) * 1024
