"""What stands between a download and an object store: a proxy that counts requests, and answers some of them badly."""

import re
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from tests.faults.relays import Relay, _exactly, _head

Operation = Literal["put", "begin", "part", "complete", "abort", "parts", "head", "get", "delete", "list"]


@dataclass
class Trouble:
    """What happens to a number of `times` of an operation, after the first `skip`; `times` None: to all."""

    operation: Operation
    kind: Literal["status", "reset", "lose", "stall", "slow", "hold"]
    """An error's status; RST in the middle of the body; RST in place of the server's answer; nothing is read any more;
    it is read at `rate`; the store gets the whole request once it is let go, also if its client is gone by then."""
    status: int = 503
    code: str = "SlowDown"
    times: int | None = 1
    skip: int = 0
    key: str = ""
    """Only of keys that end so."""
    within: str = ""
    """Only of keys that have this in them."""
    rate: int = 0
    """Bytes a second."""

    def use(self, operation: Operation, key: str) -> bool:
        if operation != self.operation or self.times == 0:
            return False
        if not key.endswith(self.key) or self.within not in key:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


class Storefront(Relay):
    """A proxy in front of the object store on `port`. Each request has a connection of its own."""

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port))
        self.seen: list[tuple[Operation, str, int]] = []
        """Operation, key and part number (or 0) of all requests that reached the store."""
        self.is_down = False
        """Whether connections are refused, as those of a host that is away."""
        self.held: list[tuple[Operation, str]] = []
        """Operation and key of the requests that were held."""
        self._let_go = threading.Event()
        self._late = 0
        """How many of these have reached the store."""
        self._troubles: list[Trouble] = []
        self._deciding = threading.Lock()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def misbehave(self, *troubles: Trouble) -> None:
        self._troubles += troubles

    def behave(self) -> None:
        self._troubles.clear()

    def let_go(self) -> None:
        """Of what is held."""
        self._let_go.set()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is held any more."""
        return self._late == len(self.held)

    def __exit__(self, *_: object) -> None:
        self.let_go()
        super().__exit__()

    def sent(self) -> list[int]:
        """The numbers of the parts that reached the store."""
        return [number for operation, _, number in self.seen if operation == "part"]

    def serve(self, client: socket.socket) -> None:
        if self.is_down:
            _reset(client)
            return
        head = _head(client).decode("latin-1")
        first, *lines = head.split("\r\n")
        method, target, _ = first.split(" ")
        operation, key, number = _operation(method, target)
        size = int(next((line.split(":")[1] for line in lines if line.lower().startswith("content-length:")), "0"))
        trouble = self._decide(operation, key)
        if trouble and trouble.kind == "status":
            self._refuse(client, trouble)
            return
        expects = any(line.lower().startswith("expect:") for line in lines)
        if expects:
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        kept = [line for line in lines if line and not line.lower().startswith(("expect:", "connection:"))]
        request = "\r\n".join([first, *kept, "Connection: close", "", ""]).encode("latin-1")
        if trouble and trouble.kind == "hold":
            self._hold_back(client, request, size, (operation, key))
        else:
            self._forward(client, request, size, trouble)
        self.seen.append((operation, key, number))

    def _decide(self, operation: Operation, key: str) -> Trouble | None:
        with self._deciding:
            return next((trouble for trouble in self._troubles if trouble.use(operation, key)), None)

    def _refuse(self, client: socket.socket, trouble: Trouble) -> None:
        body = f"<?xml version='1.0'?><Error><Code>{trouble.code}</Code><Message>no</Message></Error>".encode()
        head = f"HTTP/1.1 {trouble.status} No\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}"
        client.sendall(head.encode() + b"\r\nConnection: close\r\n\r\n" + body)
        with suppress(OSError):  # what still comes is read: else the answer would be lost
            client.shutdown(socket.SHUT_WR)
            while client.recv(1 << 16):
                pass

    def _forward(self, client: socket.socket, request: bytes, size: int, trouble: Trouble | None) -> None:
        assert self._target
        with socket.create_connection(self._target) as server:
            self._hold(server)
            server.sendall(request)
            left = size
            while left:
                if trouble and trouble.kind in {"reset", "stall"} and left <= size // 2:
                    if trouble.kind == "stall":
                        self._wait(client)
                    _reset(client)
                    raise ConnectionAbortedError
                data = client.recv(min(1 << 12 if trouble and trouble.kind == "slow" else 1 << 16, left))
                if not data:
                    raise ConnectionAbortedError
                if trouble and trouble.kind == "slow":
                    time.sleep(len(data) / trouble.rate)
                server.sendall(data)
                left -= len(data)
            if trouble and trouble.kind in {"lose", "reset", "stall"}:
                while server.recv(1 << 16):
                    pass
                _reset(client)
                return
            self._pump(server, client)
            with self._lock:
                self._open.discard(server)

    def _hold_back(self, client: socket.socket, request: bytes, size: int, what: tuple[Operation, str]) -> None:
        body = _exactly(client, size)
        self.held.append(what)
        self._let_go.wait()
        assert self._target
        try:
            with socket.create_connection(self._target) as server:
                server.sendall(request + body)
                with suppress(OSError):  # the client is gone, and the server is to carry it out all the same
                    self._pump(server, client)
                while server.recv(1 << 16):
                    pass
        finally:
            with self._lock:
                self._late += 1

    def _wait(self, client: socket.socket) -> None:
        """Until the client has left; nothing is read from it."""
        with suppress(OSError):
            while not self._closing:
                client.settimeout(0.1)
                with suppress(TimeoutError):
                    if not client.recv(1, socket.MSG_PEEK):
                        return
                time.sleep(0.1)


def _operation(method: str, target: str) -> tuple[Operation, str, int]:
    """What a request of S3's protocol asks for, its key, and the number of its part."""
    parts = urlsplit(target)
    query = parse_qs(parts.query, keep_blank_values=True)
    key = re.sub(r"^/[^/]*/?", "", parts.path)
    if "partNumber" in query:
        return "part", key, int(query["partNumber"][0])
    if "uploads" in query and method == "POST":
        return "begin", key, 0
    if "uploadId" in query:
        return {"POST": "complete", "DELETE": "abort", "GET": "parts"}[method], key, 0  # type: ignore[return-value]
    if method == "GET" and not key:
        return "list", key, 0
    return {"PUT": "put", "HEAD": "head", "GET": "get"}.get(method, "delete"), key, 0  # type: ignore[return-value]


def _reset(line: socket.socket) -> None:
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line.close()
