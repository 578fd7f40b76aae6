"""Endpoints for monitoring any process of a depot, on their own port: /healthz, /readyz and /metrics.

They need no database and no key, so they also report an unreachable database. One GET per connection, without TLS:
the port belongs on a network that only monitoring reaches.
"""

import asyncio
import ipaddress
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus

from prometheus_client import CONTENT_TYPE_LATEST

from app.depot.metrics import ProcessMetrics
from app.depot.readiness import Readiness, Status

_PATIENCE = 10.0
"""Seconds that a whole connection may take."""
_LONGEST_REQUEST = 16_384
_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"

_NO_ANSWER = (
    OSError,
    TimeoutError,
    ValueError,
    asyncio.IncompleteReadError,
    asyncio.LimitOverrunError,
    # If it ended the task, it would be logged as a failure.
    asyncio.CancelledError,
)

Answer = tuple[HTTPStatus, str, bytes]
"""Status, media type, body."""


class CannotListen(Exception):
    """The address can't be listened on. The message says what to do."""


def listen(host: str, port: int) -> socket.socket | None:
    """Return the socket of a `StatusServer`; None if `port` is 0. Raises `CannotListen`.

    `host` may be a network, such as 10.1.2.0/24: then it is this machine's address in that network.
    """
    if not port:
        return None
    try:
        own = _address_in(host) if "/" in host else host
        family, kind, protocol, _, address = socket.getaddrinfo(own, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _cannot(host, port, error) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise _cannot(host, port, error) from None
    return listener


def _cannot(host: str, port: int, error: OSError) -> CannotListen:
    advice = "choose another DEPOT_METRICS_PORT or DEPOT_METRICS_HOST"
    return CannotListen(f"can't listen on {host}:{port}: {error.strerror}; {advice}")


def _address_in(network: str) -> str:
    """Return the address from which this machine would send to that network. Nothing is sent."""
    there = ipaddress.ip_network(network)
    family = socket.AF_INET6 if there.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.connect((str(there[min(1, there.num_addresses - 1)]), 9))
        own: str = asking.getsockname()[0]
    if ipaddress.ip_address(own) not in there:
        raise OSError(0, "this machine has no address in that network")
    return own


@dataclass(frozen=True, slots=True)
class StatusServer:
    """Reports the state of the process in whose event loop it runs."""

    readiness: Readiness
    metrics: ProcessMetrics

    @asynccontextmanager
    async def listening(self, listener: socket.socket | None) -> AsyncIterator[None]:
        """Answer at `listener` while the block runs, then close it. Without one, do nothing."""
        if listener is None:
            yield
            return
        server = await asyncio.start_server(self._converse, sock=listener, limit=_LONGEST_REQUEST)
        try:
            yield
        finally:
            server.close()  # without waiting for slow clients

    async def answer(self, path: str) -> Answer:
        match path:
            case "/healthz":
                return HTTPStatus.OK, _JSON, b'{"status":"ok"}'
            case "/readyz":
                status, report = await self.readiness.report()
                code = HTTPStatus.SERVICE_UNAVAILABLE if status is Status.UNAVAILABLE else HTTPStatus.OK
                return code, _JSON, json.dumps(report).encode()
            case "/metrics":
                return HTTPStatus.OK, CONTENT_TYPE_LATEST, await self.metrics.scrape(self.readiness)
        return HTTPStatus.NOT_FOUND, _TEXT, b"There are /healthz, /readyz and /metrics.\n"

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # No answer to a client that disconnects, is too slow or speaks no HTTP, or still waits when the worker ends.
        with suppress(*_NO_ANSWER):
            async with asyncio.timeout(_PATIENCE):
                method, target, _ = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)
                if method == b"GET":
                    status, kind, body = await self.answer(target.decode("ascii").partition("?")[0])
                else:
                    status, kind, body = HTTPStatus.METHOD_NOT_ALLOWED, _TEXT, b"Use GET.\n"
                writer.write(
                    f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\n"
                    f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
                )
                writer.write(body)
                await writer.drain()
        writer.close()
