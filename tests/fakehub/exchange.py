"""One request and what was answered, and the log of them all."""

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from tests.fakehub.content import Bytes, Content
from tests.fakehub.repository import Link

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")

Origin = Literal["hub", "cdn", "cas"]
Place = Literal[
    "file", "redirect", "head", "tree", "paths", "revision", "search", "auth", "xet", "cas", "xorb", "cdn", "any"
]
"""Where in the protocol: `file` is a GET that carries a file's bytes, from the Hub or its CDN, `redirect` a GET that is
answered with the way to the CDN, `head` a HEAD of a file, `auth` auth-check and whoami, `cdn` all of the CDN; of Xet,
`xet` is the Hub's token for it, `cas` the server that says how to put a file together, `xorb` a GET of what from."""


@dataclass(eq=False)
class Request:
    """A request as it was received, and what became of it; the latter changes while it is answered."""

    origin: Origin
    method: str
    path: str
    """As sent, with its query."""
    headers: Mapping[str, str]
    """By lower-case name, Authorization included."""
    body: bytes = b""
    peer: int = 0
    """The client's port, which is the same for all requests of a connection."""
    started: float = field(default_factory=time.monotonic)
    finished: float | None = None
    """When the answer was sent, or ended in another way."""
    place: Place = "any"
    repo: str | None = None
    file: str | None = None
    status: int | None = None
    bytes_sent: int = 0
    """Of the body: what the socket takes, whether or not the client does. Counted before the client can have it."""
    fault: str | None = None
    """The kind of the fault that befell it."""

    @property
    def range(self) -> str | None:
        return self.headers.get("range")

    @property
    def authorization(self) -> str | None:
        return self.headers.get("authorization")

    @cached_property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.path).query)

    def asks(self, name: str) -> bool:
        return self.query.get(name, ["false"])[0].lower() in {"true", "1"}


@dataclass(frozen=True)
class Answer:
    """Status, headers, and a stretch of some content as the body."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content: Content = field(default_factory=lambda: Bytes(b""))
    start: int = 0
    stop: int | None = None
    announced: int | None = None
    """What Content-Length says where it does not say the truth."""
    link: Link | None = None

    @property
    def end(self) -> int:
        return self.content.size if self.stop is None else self.stop

    @property
    def length(self) -> int:
        return self.end - self.start

    @property
    def lies(self) -> bool:
        return self.announced is not None and self.announced != self.length

    def head(self) -> bytes:
        length = self.length if self.announced is None else self.announced
        lines = [f"HTTP/1.1 {self.status} {_reason(self.status)}", f"Content-Length: {length}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


class Log:
    """All requests since the Hub began, in the order in which they came."""

    def __init__(self) -> None:
        self._requests: list[Request] = []
        self._changed = threading.Condition()

    def add(self, request: Request) -> None:
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()

    def count(self, request: Request, size: int) -> None:
        with self._changed:
            request.bytes_sent += size
            self._changed.notify_all()

    def finish(self, request: Request) -> None:
        with self._changed:
            request.finished = time.monotonic()
            self._changed.notify_all()

    def snapshot(self) -> list[Request]:
        with self._changed:
            return list(self._requests)

    def clear(self) -> None:
        with self._changed:
            self._requests.clear()

    def wait(self, until: Callable[[], bool], seconds: float) -> bool:
        """Until the condition holds, looked at with every request and every block that is sent."""
        with self._changed:
            return self._changed.wait_for(until, seconds)


def asked_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and end of a single range, for the caller to compare with the size; None: all is to be sent."""
    found = _RANGE.fullmatch(header or "")
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    start = int(first) if first else max(0, size - int(last))
    stop = min(int(last) + 1, size) if first and last else size
    return None if stop <= start < size else (start, stop)


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
