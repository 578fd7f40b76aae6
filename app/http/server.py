"""The HTTP server: uvicorn, configured, with our own connection class."""

import asyncio
import gc
import resource
from collections.abc import Sequence
from functools import partial
from typing import cast

import uvicorn
from fastapi import FastAPI

from app.http.connection import Connection, Room

_HELD = 8 << 20
"""Bytes of unanswered requests, of all connections together, beyond which large ones are refused."""
_HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
]
_MOST_FILES = 65_536
_OBJECTS = 10_000
"""New objects that trigger a garbage collection."""


def configured(
    app: FastAPI,
    *,
    grace: int,
    client_timeout: float,
    trusted_proxies: Sequence[str],
    certificate: str | None,
    key: str | None,
) -> uvicorn.Config:
    """Return the configuration for `uvicorn.Server`. Raises `OSError` for a certificate that can't be used.

    `grace` and `client_timeout` are seconds: for requests to end once the server stops, and to arrive.
    """
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=cast("type[asyncio.Protocol]", partial(Connection, patience=client_timeout, room=Room(_HELD))),
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
