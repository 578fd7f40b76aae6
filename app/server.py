"""The HTTP server: uvicorn, with the bounds that it lacks, and in our words where it answers by itself."""

import asyncio
import gc
import resource
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, cast

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.api.errors import answer

MAX_HEAD, MAX_HEADERS = 65_536, 100
"""Bytes of a request's line and headers, and how many headers."""
_HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
]
_FIRST_REQUEST = 0.5
"""Seconds that a new connection has for its first request when the server stops."""
_MOST_FILES = 65_536
_OBJECTS = 10_000
"""So many new ones are there when garbage is looked for among them."""
_NOT_HTTP = "This is not a request that HTTP/1.1 knows. /docs lists what there is."
_TOO_LARGE = f"The request's headers are too large: at most {MAX_HEADERS} of them are read, and {MAX_HEAD >> 10} KiB."
_TOO_SLOW = "The request took too long to arrive: send it again, all at once."


def configured(
    app: FastAPI,
    *,
    grace: int,
    client_timeout: float,
    trusted_proxies: Sequence[str],
    certificate: str | None,
    key: str | None,
) -> uvicorn.Config:
    """What `uvicorn.Server` takes. `grace` and `client_timeout` are seconds: how long requests may take to end once it
    stops, and to arrive. Raises `OSError` for a certificate that can't be used.
    """
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=cast("type[asyncio.Protocol]", partial(Connection, patience=client_timeout)),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        headers=_HEADERS,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
        timeout_graceful_shutdown=grace,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    config.load()
    return config


def calm_garbage_collection() -> None:
    """What is there from the start is never garbage; and a request makes hundreds of objects, but no cycles that matter.

    By default Python looks for cycles after every 700 objects: twice in a request, for 8 % of its time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS, 20, 20)


def allow_connections() -> None:
    """As many as this process may have, instead of the 1024 that many systems begin with."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class _TooLarge(Exception):
    """The head of a request is."""


class Connection(HttpToolsProtocol):
    """One client: it has `patience` seconds for a request's head, which has a bound, and as long again for its body."""

    def __init__(self, *words: Any, patience: float, **named: Any) -> None:
        super().__init__(*words, **named)
        self._patience = patience
        self._deadline: asyncio.TimerHandle | None = None
        self._head: int | None = None
        """Bytes of a head that is being received."""
        self._in_body = False
        self._current: RequestResponseCycle | None = None
        """The request that is being answered: later ones may be waiting."""
        self._refusal = HTTPStatus.BAD_REQUEST, _NOT_HTTP

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)
        if self._current:
            # uvicorn tells the request that came last only, and the others would write to what is closed.
            self._current.disconnected = True
            self._current.message_event.set()

    def shutdown(self) -> None:
        """The server stops. A proxy that has just connected sends its request in a moment, and would not send it again."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None:
            self.loop.call_later(_FIRST_REQUEST, super().shutdown)
        else:
            super().shutdown()

    def data_received(self, data: bytes) -> None:
        if self._deadline is None:
            self._wait()
        continued = self._head is not None
        super().data_received(data)
        if continued and self._head is not None:
            self._head += len(data)
            if self._head > MAX_HEAD:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _TOO_LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head = 0

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MAX_HEAD or len(self.headers) > MAX_HEADERS:
            self._refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _TOO_LARGE
            raise _TooLarge
        super().on_headers_complete()
        self._head, self._in_body = None, True
        self._wait()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_body = False
        self._stop_waiting()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._current = cycle
        super()._start_asgi_task(cycle, app)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's words
        """What uvicorn does with what it can't read."""
        self._refuse(*self._refusal)

    def _wait(self) -> None:
        self._stop_waiting()
        self._deadline = self.loop.call_later(self._patience, self._refuse, HTTPStatus.REQUEST_TIMEOUT, _TOO_SLOW)

    def _stop_waiting(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        """Close it, and say why unless something else is being said."""
        if self.transport.is_closing():
            return
        if not self._is_answering():
            said = answer(status, message, headers={"Connection": "close"})
            headers = [*self.server_state.default_headers, *said.raw_headers]
            lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode(), *(b": ".join(header) for header in headers)]
            self.transport.write(b"\r\n".join([*lines, b"", bytes(said.body)]))
        self.transport.close()

    def _is_answering(self) -> bool:
        if self.pipeline:
            return True
        # The request whose body is awaited is the last one; before a head is complete, the last one is another.
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and (cycle.response_started if self._in_body else not cycle.response_complete)
