"""The HTTP server: uvicorn, configured, with our own connection class."""

import asyncio
import gc
import resource
from collections.abc import Sequence
from functools import partial
from typing import cast

import uvicorn
from starlette.types import ASGIApp

from app.http.connection import Connection, Room
from app.http.sendfile import FileSender

_HELD = 8 << 20
"""Bytes of unanswered requests, of all connections together, beyond which large ones are refused."""
_HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
]
_GRACE = 7.0
"""Seconds that requests may take to end once the server stops."""
_KEPT = 120
"""Seconds that an idle connection is kept: longer than clients and proxies keep theirs (nginx 60, Go 90), or else a
request that they send over it just as it is closed is lost."""
_MOST_FILES = 65_536
_OBJECTS = 10_000
"""New objects that trigger a garbage collection."""


class Server(uvicorn.Server):
    """Stops as uvicorn's does. An answer of a declared length that has begun, such as a file, may take longer to end."""

    async def _wait_tasks_to_complete(self) -> None:
        timer = asyncio.get_running_loop().call_later(_GRACE, self._cut_off)
        try:
            await super()._wait_tasks_to_complete()
        finally:
            timer.cancel()

    def _cut_off(self) -> None:
        for connection in self.server_state.connections:
            cast("Connection", connection).cut_off()


def configured(
    app: ASGIApp,
    *,
    drain: float,
    client_timeout: float,
    trusted_proxies: Sequence[str],
    certificate: str | None,
    key: str | None,
) -> uvicorn.Config:
    """Return the configuration for a `Server`. Raises `OSError` for a certificate that can't be used.

    `drain` and `client_timeout` are seconds: for files to be sent to their end once the server stops, and for requests
    to arrive.
    """
    connection = partial(Connection, patience=client_timeout, room=Room(_HELD), files=FileSender(client_timeout))
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=cast("type[asyncio.Protocol]", connection),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        headers=_HEADERS,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
        timeout_keep_alive=_KEPT,
        timeout_graceful_shutdown=cast("int", max(drain, _GRACE)),
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    config.load()
    return config


def calm_garbage_collection() -> None:
    """Collect garbage less often: startup objects are never garbage, a request's hundreds form no cycles that matter.

    By default Python looks for cycles after every 700 objects: twice per request, for 8 % of its time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS, 20, 20)


def allow_connections() -> None:
    """Raise the limit on open files as far as allowed, from the 1024 that many systems begin with."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
