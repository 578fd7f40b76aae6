"""One client's connection: uvicorn's plus limits, and strict where a proxy may parse a request differently."""

import asyncio
import re
from collections import deque
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

import httptools
import structlog
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.http.errors import RETRY_AFTER, answer
from app.http.sendfile import FileSender

MAX_HEAD, MAX_HEADERS = 65_536, 100
"""Bytes of a request's line and headers, and how many headers."""
MAX_WAITING = 16
"""Requests of one connection that may wait for earlier ones; later bytes are not parsed until there is room."""
_PIECE = 4096
"""Bytes that are parsed at a time, as a parser can't be stopped: at most 160 requests."""
_ALWAYS_HELD = 16_384
"""Bytes that a connection may hold whatever the others hold: enough for nearly all requests."""
_FIRST_REQUEST = 0.5
"""Seconds that a new connection has for its first request when the server stops."""
_VERSIONS = frozenset({"1.0", "1.1"})
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")
_NOT_HTTP = "This is not a request that HTTP/1.1 knows. /docs lists what there is."
_NO_PROXY = "This is not a proxy: it does not take CONNECT. /docs lists what there is."
_HOSTS = "A request names its host in one Host header: send exactly one."
_CODING = (
    "The body's end can't be told: send it with a Content-Length or, in HTTP/1.1, with 'Transfer-Encoding: chunked' "
    "and nothing else."
)
_TOO_LARGE = f"The request's headers are too large: at most {MAX_HEADERS} of them are read, and {MAX_HEAD >> 10} KiB."
_TOO_SLOW = "The request took too long to arrive: send it again, all at once."
_NO_ROOM = "Too many large requests are arriving at the moment. Nothing was changed; send the request again."

log = structlog.get_logger()


@dataclass(slots=True)
class Room:
    """Bytes of unanswered requests of all connections together: `used` now, `most` allowed."""

    most: int
    used: int = 0


class _Refused(Exception):
    """Stops the parser: `_refusal` says why."""


class Connection(HttpToolsProtocol):
    """One client: it has `patience` seconds for a request's head, which is limited, and as long again for its body."""

    def __init__(self, *words: Any, patience: float, room: Room, files: FileSender, **named: Any) -> None:
        super().__init__(*words, **named)
        self._patience, self._room, self._files = patience, room, files
        self._deadline: asyncio.TimerHandle | None = None
        self._unread = memoryview(b"")
        """Received bytes that are not parsed yet."""
        self._bodies: deque[int] = deque()
        """Bytes held of each request's body, in the order of the answers."""
        self._quiet: int | None = None
        """Bytes parsed since a request's last event (begin, end of head, body part); `None` between two requests."""
        self._in_body = False
        self._hosts: list[bytes] = []
        self._codings: list[bytes] = []
        self._offers = False
        """Whether the last parsed head offers another protocol, and must be parsed again without the offer."""
        self._current: RequestResponseCycle | None = None
        """The request that is being answered: later ones may be waiting."""
        self._task: asyncio.Task[None] | None = None
        self._refusal = HTTPStatus.BAD_REQUEST, _NOT_HTTP

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._room.used -= len(self._unread) + sum(self._bodies)
        self._unread = memoryview(b"")
        self._bodies.clear()
        super().connection_lost(exc)
        if self._current:
            # uvicorn notifies only the last request; the others would write to a closed connection.
            self._current.disconnected = True
            self._current.message_event.set()

    def shutdown(self) -> None:
        """Stop. A new connection first gets time for its request: a proxy that just connected would not resend it."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None:
            self.loop.call_later(_FIRST_REQUEST, super().shutdown)
        else:
            super().shutdown()

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._deadline is None:
            self._wait()
        if len(data) <= _PIECE and not self._unread:
            self._parse(data)
            return
        # A request that asks for its body resumes reading, even while there are unparsed bytes.
        self._unread = memoryview(bytes(self._unread) + data)
        self._room.used += len(data)
        self._parse_on()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._quiet = 0
        self._hosts, self._codings = [], []

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_body:
            return  # A trailer: a proxy that checks headers may not have checked it.
        name = name.lower()
        if name == b"host":
            self._hosts.append(value)
        elif name == b"transfer-encoding":
            self._codings.append(value)
        elif name == b"expect":
            self.expect_100_continue = value.lower() == b"100-continue"
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._check_head()
        self._offers = self.parser.should_upgrade()
        if self._offers:
            return
        super().on_headers_complete()
        if self.expect_100_continue:
            # After an early answer the client may send or omit the body: the next bytes would be ambiguous.
            self.cycle.keep_alive = False
        self._bodies.append(0)
        self._quiet, self._in_body = 0, True
        self._wait()

    def on_body(self, body: bytes) -> None:
        self._quiet = 0
        if self.cycle.response_complete:
            return
        super().on_body(body)
        self._bodies[-1] += len(body)
        self._room.used += len(body)
        if self._bodies[-1] > _ALWAYS_HELD:
            self._check_room()

    def on_message_complete(self) -> None:
        if self._offers:
            return
        super().on_message_complete()
        self._quiet, self._in_body = None, False
        self._stop_waiting()

    def on_response_complete(self) -> None:
        self._room.used -= self._bodies.popleft()
        super().on_response_complete()
        if self._unread:
            self._parse_on()

    def cut_off(self) -> None:
        """End the request that is being answered, unless the answer has begun and has a declared length."""
        cycle = self._current
        if cycle and self._task and not (cycle.response_started and cycle.chunked_encoding is False):
            self._task.cancel()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # What uvicorn does, but the task is kept.
        self._current = cycle
        app = self._ending_quietly(self._files.offered(app, cycle), cycle)
        self._task = self.loop.create_task(cycle.run_asgi(app))
        self._task.add_done_callback(self.tasks.discard)
        self.tasks.add(self._task)

    def _ending_quietly(self, app: ASGIApp, cycle: RequestResponseCycle) -> Any:
        """Return `app`, of which a cancellation is no bug: only a server that stops cancels requests."""

        async def run(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await app(scope, receive, send)
            except asyncio.CancelledError:
                log.warning("a request was cut off: the server stops", method=scope["method"], path=scope["path"])
                cycle.disconnected = True
                cycle.transport.abort()

        return run

    def _check_head(self) -> None:
        """Raise `_Refused` for a head that is too large, or that a proxy may parse as a different request."""
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MAX_HEAD or len(self.headers) > MAX_HEADERS:
            raise self._refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _TOO_LARGE)
        version = self.parser.get_http_version()
        if version not in _VERSIONS:
            raise self._refused(HTTPStatus.BAD_REQUEST, _NOT_HTTP)
        if len(self._hosts) != 1 and (self._hosts or version != "1.0"):
            raise self._refused(HTTPStatus.BAD_REQUEST, _HOSTS)
        if self._hosts and not _HOST.fullmatch(self._hosts[0].rstrip()):
            raise self._refused(HTTPStatus.BAD_REQUEST, _HOSTS)
        if self._codings and (version == "1.0" or [one.strip().lower() for one in self._codings] != [b"chunked"]):
            raise self._refused(HTTPStatus.BAD_REQUEST, _CODING)
        if self.parser.get_method() == b"CONNECT":
            raise self._refused(HTTPStatus.BAD_REQUEST, _NO_PROXY)

    def _check_room(self) -> None:
        if self._room.used > self._room.most:
            raise self._refused(HTTPStatus.SERVICE_UNAVAILABLE, _NO_ROOM)

    def _parse_on(self) -> None:
        """Parse unread bytes while more requests may wait. If some are left, pause reading."""
        try:
            if len(self._unread) > _ALWAYS_HELD:
                self._check_room()
        except _Refused:
            self._refuse(*self._refusal)
        while self._unread and len(self.pipeline) < MAX_WAITING and not self.transport.is_closing():
            piece, self._unread = self._unread[:_PIECE], self._unread[_PIECE:]
            self._room.used -= len(piece)
            self._parse(piece)
        if self.transport.is_closing():
            return
        if self._unread:
            self._unread = memoryview(self._unread.tobytes())  # A slice keeps its whole buffer alive.
            self.flow.pause_reading()
            self._stop_waiting()
        elif self._quiet is not None and self._deadline is None:
            self._wait()

    def _parse(self, data: bytes | memoryview) -> None:
        continued = self._quiet is not None
        rest: bytes | memoryview | None = data
        try:
            while rest is not None:
                rest = self._feed(rest)
        except httptools.HttpParserError:
            self._refuse(*self._refusal)
            return
        if continued and self._quiet is not None:
            self._quiet += len(data)
            if self._quiet > MAX_HEAD:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _TOO_LARGE)

    def _feed(self, data: bytes | memoryview) -> bytes | None:
        """Feed the parser. Return what to feed next, if anything.

        llhttp takes everything after an offer of another protocol, the body included, as that protocol. A server may
        ignore the offer, and this one does: the request is parsed again without it.
        """
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._offers = False
            lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
            lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            return b"\r\n".join([*lines, b"", bytes(data[offer.args[0] :])])
        return None

    def _wait(self) -> None:
        self._stop_waiting()
        self._deadline = self.loop.call_later(self._patience, self._refuse, HTTPStatus.REQUEST_TIMEOUT, _TOO_SLOW)

    def _stop_waiting(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _refused(self, status: HTTPStatus, message: str) -> _Refused:
        self._refusal = status, message
        return _Refused()

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        """Close the connection, and send the reason unless an answer is being sent."""
        if self.transport.is_closing():
            return
        if not self._is_answering():
            again = {"Retry-After": RETRY_AFTER} if status is HTTPStatus.SERVICE_UNAVAILABLE else {}
            said = answer(status, message, headers={"Connection": "close"} | again)
            headers = [*self.server_state.default_headers, *said.raw_headers]
            lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode(), *(b": ".join(header) for header in headers)]
            self.transport.write(b"\r\n".join([*lines, b"", bytes(said.body)]))
        self.transport.close()

    def _is_answering(self) -> bool:
        if self.pipeline:
            return True
        # While a body is awaited, `cycle` is its request; before a head is complete, it is an earlier one.
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and (cycle.response_started if self._in_body else not cycle.response_complete)
