"""Gives every request an id, in its answer and in all its log lines, and one log line of its own."""

import random
import re
import time
from http import HTTPStatus

import structlog
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from app.depot.metrics import ApiMetrics

_HEADER = b"x-request-id"
_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}")
_LONGEST_PATH = 500
_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
"""For answers without their own policy: a browser may only show them."""

log = structlog.get_logger()


def install(app: FastAPI, metrics: ApiMetrics, *, log_all: bool) -> None:
    """Log every request, or only refused and failed ones.

    It wraps all other layers, even the one that answers after a bug: `add_middleware` would put it inside.
    """
    others = app.build_middleware_stack
    app.build_middleware_stack = lambda: _Requests(others(), metrics, log_all)  # type: ignore[method-assign]


class _Requests:
    def __init__(self, app: ASGIApp, metrics: ApiMetrics, log_all: bool) -> None:
        self._app, self._metrics, self._log_all = app, metrics, log_all

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == _HEADER), b"").decode("latin-1")
        request_id = given if _SANE.fullmatch(given) else f"{random.getrandbits(128):032x}"
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        begun, status = time.perf_counter(), int(HTTPStatus.INTERNAL_SERVER_ERROR)
        answered: float | None = None

        async def marked(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status, answered = message["status"], time.perf_counter()
                headers = message["headers"] = [*message["headers"], (_HEADER, request_id.encode())]
                if not any(name == _POLICY[0] for name, _ in headers):
                    headers.append(_POLICY)
            await send(message)

        with bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, marked)
            finally:
                ended = time.perf_counter()
                self._metrics.answered(scope["method"], status, (answered or ended) - begun)
                if self._log_all or status >= HTTPStatus.BAD_REQUEST:
                    path, ms = _path(scope), round((ended - begun) * 1000, 1)
                    sent = {"bytes": state["bytes"]} if "bytes" in state else {}
                    log.info("answered", method=scope["method"], path=path, status=int(status), ms=ms, **sent)


def _path(scope: Scope) -> str:
    """Return the path as received, without the query string."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.partition(b"?")[0][:_LONGEST_PATH].decode("ascii", "backslashreplace")
