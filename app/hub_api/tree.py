"""Lists files and folders: the tree, and the description of single paths."""

import asyncio
import hashlib
import json
from typing import Any
from urllib.parse import parse_qs

from starlette.responses import JSONResponse, Response

from app.hub_api.calls import Call, entry_not_found
from app.hub_api.entries import Entries
from app.hub_api.errors import Code, HubError
from app.services.published import Snapshot

_LONG = 2000
"""Entries from which a list is made in a thread."""
_MOST_PATHS = 20_000


async def tree(call: Call) -> Response:
    """List a folder in one page: llama.cpp reads no other."""
    snapshot = await call.snapshot()
    _check_commit(call, snapshot)
    entries = await call.entries(snapshot)
    if call.path and call.path not in entries.folders:
        raise entry_not_found(call, snapshot)
    recursive = call.request.query_params.get("recursive", "").lower() == "true"

    def listed() -> Response:
        return JSONResponse([_entry(entries, path) for path in entries.below(call.path, recursive=recursive)])

    return await asyncio.to_thread(listed) if len(entries.files) > _LONG else listed()


async def paths_info(call: Call) -> Response:
    """Describe the paths that are there; the others are left out."""
    entries = await call.entries(await call.snapshot())
    body = await call.request.body()
    if call.request.headers.get("content-type", "").startswith("application/json"):
        paths = _from_json(body)
    else:
        paths = parse_qs(body.decode(errors="replace"), max_num_fields=_MOST_PATHS).get("paths", [])
    there = [path.strip("/") for path in paths]
    return JSONResponse([_entry(entries, path) for path in there if path in entries.files or path in entries.folders])


def _from_json(body: bytes) -> list[str]:
    try:
        paths = json.loads(body)["paths"]
    except (ValueError, KeyError, TypeError, RecursionError):
        paths = []
    return [path for path in paths if isinstance(path, str)] if isinstance(paths, list) else []


def _check_commit(call: Call, snapshot: Snapshot) -> None:
    """Raise `HubError` if this would list a part of a repository as the Hub's own commit.

    huggingface_hub keeps the list of a commit for ever: files that arrive later would be missing in its cache.
    """
    if call.revision == snapshot.true_commit != snapshot.commit:
        known = snapshot.models[-1].revision
        name = known if known != snapshot.true_commit else snapshot.commit
        message = (
            f"the depot keeps a part of {snapshot.name} at this commit: ask for revision {name}, or pull the whole."
        )
        raise HubError(message, Code.REVISION)


def _entry(entries: Entries, path: str) -> dict[str, Any]:
    file = entries.files.get(path)
    if file is None:
        folder = hashlib.sha1(f"folder {path}".encode(), usedforsecurity=False).hexdigest()
        return {"type": "directory", "path": path, "oid": folder, "size": 0}
    entry: dict[str, Any] = {"type": "file", "path": path, "size": file.size, "oid": file.git_id}
    if lfs := file.lfs:
        entry["lfs"] = {"oid": lfs.pop("sha256"), **lfs}
    return entry
