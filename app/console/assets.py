"""The style sheet, scripts and icon: small files, kept in memory, compressed once, cached by browsers by their digest.

htmx 2.0.11 is from npm's `htmx.org`, with its licence file.
"""

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

router = APIRouter(include_in_schema=False)

_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".LICENSE": "text/plain"}
_YEAR = 31_536_000


@dataclass(frozen=True, slots=True)
class Asset:
    plain: bytes
    packed: bytes
    media_type: str
    digest: str


class Assets:
    """The assets in a folder."""

    def __init__(self, folder: Path) -> None:
        self._assets = {path.name: _read(path) for path in sorted(folder.iterdir()) if path.suffix in _TYPES}

    def find(self, name: str) -> Asset | None:
        return self._assets.get(name)

    def address(self, name: str) -> str:
        """Return its path below the root, which changes with the content."""
        return f"/console/static/{name}?{self._assets[name].digest}"


@router.get("/console/static/{name}")
async def static(request: Request, name: str) -> Response:
    asset = request.app.state.pages.assets.find(name)
    if asset is None:
        raise HTTPException(404)
    headers = {"Vary": "Accept-Encoding", "Cache-Control": "no-cache"}
    if request.url.query == asset.digest:
        headers["Cache-Control"] = f"public, max-age={_YEAR}, immutable"
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(asset.plain, headers=headers, media_type=asset.media_type)
    return Response(asset.packed, headers=headers | {"Content-Encoding": "gzip"}, media_type=asset.media_type)


def _read(path: Path) -> Asset:
    plain = path.read_bytes()
    digest = hashlib.sha256(plain).hexdigest()[:12]
    return Asset(plain, gzip.compress(plain, mtime=0), _TYPES[path.suffix], digest)
