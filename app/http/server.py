"""The HTTP server: uvicorn, set up, with connections of our own."""

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
"""Bytes of requests that are not answered yet, of all connections together, beyond which large ones are refused."""
_HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
]
_MOST_FILES = 65_536
_OBJECTS = 10_000
"""So many new ones are there when garbage is looked for among them."""


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
