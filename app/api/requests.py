"""Every request has an id, which stands in its answer and in every line that is logged for it, and one line of its own."""

import re
import time
from http import HTTPStatus
from uuid import uuid4

import structlog
from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from app.metrics import ApiMetrics

_HEADER = "x-request-id"
_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}")
_LONGEST_PATH = 500
_POLICY = "default-src 'none'; frame-ancestors 'none'"
"""What a browser may do with an answer that brings no policy of its own: show it."""

log = structlog.get_logger()


def install(app: FastAPI, metrics: ApiMetrics) -> None:
    """Around all other layers, even that which answers when there is a bug: `add_middleware` would put it inside."""
    others = app.build_middleware_stack
    app.build_middleware_stack = lambda: _Requests(others(), metrics)  # type: ignore[method-assign]


class _Requests:
    def __init__(self, app: ASGIApp, metrics: ApiMetrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(_HEADER, "")
        request_id = given if _SANE.fullmatch(given) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        begun, status = time.perf_counter(), int(HTTPStatus.INTERNAL_SERVER_ERROR)

        async def marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[_HEADER] = request_id
                headers.setdefault("content-security-policy", _POLICY)
            await send(message)

        with bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, marked)
            finally:
                seconds = time.perf_counter() - begun
                self._metrics.answered(scope["method"], status, seconds)
                path = _path(scope)
                log.info("answered", method=scope["method"], path=path, status=status, ms=round(seconds * 1000, 1))


def _path(scope: Scope) -> str:
    """As it came, without what follows the question mark."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.partition(b"?")[0][:_LONGEST_PATH].decode("ascii", "backslashreplace")
