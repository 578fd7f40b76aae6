"""A worker's own little HTTP server, for whoever watches it: /healthz, /readyz and /metrics. Off unless it has a port.

One GET a connection, without TLS and without a key: it belongs on a network that only the watchers reach.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus

from prometheus_client import CONTENT_TYPE_LATEST

from app.readiness import Readiness, Status
from worker.metrics import WorkerMetrics

_PATIENCE = 10.0
"""Seconds that a whole conversation may take."""
_LONGEST_REQUEST = 16_384
_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"

_NO_ANSWER = (
    OSError,
    TimeoutError,
    ValueError,
    asyncio.IncompleteReadError,
    asyncio.LimitOverrunError,
    # As the task's own end it would be logged as a failure.
    asyncio.CancelledError,
)

Answer = tuple[HTTPStatus, str, bytes]
"""Status, media type, body."""


class CannotListen(Exception):
    """The address can't be listened on. The message says what to do."""


@dataclass(frozen=True, slots=True)
class StatusServer:
    """Tells how the worker in whose event loop it runs is."""

    readiness: Readiness
    metrics: WorkerMetrics

    @asynccontextmanager
    async def listening(self, host: str, port: int) -> AsyncIterator[None]:
        """Answer while the block runs; not at all when `port` is 0. Raises `CannotListen`."""
        if not port:
            yield
            return
        try:
            server = await asyncio.start_server(self._converse, host, port, limit=_LONGEST_REQUEST)
        except OSError as error:
            advice = "choose another DEPOT_METRICS_PORT or DEPOT_METRICS_HOST"
            raise CannotListen(f"can't listen on {host}:{port}: {error.strerror}; {advice}") from None
        try:
            yield
        finally:
            server.close()  # without waiting for whoever is slow to hear the answer

    async def answer(self, path: str) -> Answer:
        match path:
            case "/healthz":
                return HTTPStatus.OK, _JSON, b'{"status":"ok"}'
            case "/readyz":
                status, report = await self.readiness.report()
                code = HTTPStatus.SERVICE_UNAVAILABLE if status is Status.UNAVAILABLE else HTTPStatus.OK
                return code, _JSON, json.dumps(report).encode()
            case "/metrics":
                return HTTPStatus.OK, CONTENT_TYPE_LATEST, await self.metrics.scrape()
        return HTTPStatus.NOT_FOUND, _TEXT, b"There are /healthz, /readyz and /metrics.\n"

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Whoever breaks off, is too slow or speaks no HTTP gets no answer, nor who waits for one when the worker ends.
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
