"""Has a proxy in front send large files itself: X-Accel-Redirect for nginx, X-Sendfile for Caddy.

A proxy that copies a body from the API takes up to 17 times the CPU of one that sends the file.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.sendfile import EXTENSION

_TYPES: Mapping[str, Callable[[str], str]] = {"x-accel-redirect": quote, "x-sendfile": str}
"""Headers that a proxy may ask for, and how each spells a path. Caddy has no way to decode one."""
_REPLACED = frozenset({b"content-length", b"content-range"})
"""The proxy sends its own, for the range that the client asked for."""


class Accel:
    """Answers with a path below `prefix` where a file below `root` would be sent, if the proxy asks for that.

    It asks with `X-Sendfile-Type`, which names the header that it wants. A client without a proxy gets the file.
    """

    def __init__(self, app: ASGIApp, root: Path, prefix: str) -> None:
        self._app, self._root, self._prefix = app, root, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wanted = _wanted(scope)
        if not wanted:
            await self._app(scope, receive, send)
            return
        start: Message = {}

        async def redirected(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and "content-length" in Headers(raw=message["headers"]):
                start = message  # An event stream, which has no length, begins at once.
                return
            begun, start = start, {}
            path = await asyncio.to_thread(self._below, message["file"]) if message["type"] == EXTENSION else ""
            if path:
                headers = [header for header in begun["headers"] if header[0].lower() not in _REPLACED]
                place = _TYPES[wanted](f"{self._prefix}/{path}")
                headers += [(wanted.encode(), place.encode()), (b"content-length", b"0")]
                message["progress"](message["count"])
                begun, message = {**begun, "status": 200, "headers": headers}, {"type": "http.response.body"}
            if begun:
                await send(begun)
            await send(message)

        await self._app(scope, receive, redirected)

    def _below(self, file: int) -> str:
        """Return the path of an open file below `root`. Empty if a header can't name it, or it was removed."""
        try:
            path = Path(f"/proc/self/fd/{file}").readlink()
            below = str(path.relative_to(self._root.resolve())) if path.exists() else ""
        except (OSError, ValueError):
            return ""
        return below if below.isprintable() and below == below.strip() else ""


def _wanted(scope: Scope) -> str:
    """Return the header that a proxy asks for. Empty if none, or if the client's If-Range is the API's to judge."""
    if EXTENSION not in scope.get("extensions", {}):
        return ""
    headers = Headers(scope=scope)
    wanted = headers.get("x-sendfile-type", "").lower()
    return wanted if wanted in _TYPES and "if-range" not in headers else ""
