"""Serves under a path that a proxy may or may not strip before it forwards a request."""

from starlette.types import ASGIApp, Receive, Scope, Send


class Prefix:
    """Tells the application its `root_path`, such as `/depot`, and adds it to a path that lacks it, as ASGI wants it."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app, self._prefix = app, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["root_path"] = self._prefix
            if not scope["path"].startswith(f"{self._prefix}/"):
                raw = scope.get("raw_path") or b""
                scope = {**scope, "path": self._prefix + scope["path"], "raw_path": self._prefix.encode() + raw}
        await self._app(scope, receive, send)
