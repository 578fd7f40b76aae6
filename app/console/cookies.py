"""The attributes of this console's cookies."""

from typing import Any
from urllib.parse import urlsplit

from fastapi import Request

from app.api.dependencies import Depot


def is_secure(request: Request) -> bool:
    """Return whether browsers use TLS, also if a proxy terminates it silently."""
    depot: Depot = request.app.state.depot
    return "https" in {request.url.scheme, urlsplit(depot.address).scheme}


def cookie_named(request: Request, name: str) -> tuple[str, dict[str, Any]]:
    """Return a cookie's name, whose prefix makes browsers enforce its attributes, and the attributes."""
    path, secure = request.scope["root_path"] or "/", is_secure(request)
    prefix = "" if not secure else "__Host-" if path == "/" else "__Secure-"
    return prefix + name, {"path": path, "secure": secure, "httponly": True, "samesite": "strict"}
