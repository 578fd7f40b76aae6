"""Describes repositories: models/R, its revisions, refs and commits, and the search."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from starlette.responses import JSONResponse, Response

from app.hub_api.calls import Call
from app.hub_api.entries import Entries, File
from app.services import published
from app.services.published import Snapshot

_MOST_LISTED = 1000


async def model(call: Call) -> Response:
    """Answer for a repository, or one revision of it, with the list of its files."""
    snapshot = await call.snapshot()
    entries = await call.entries(snapshot)
    detailed = call.request.query_params.get("blobs", "").lower() == "true"
    return JSONResponse(_described(snapshot) | {"siblings": _siblings(entries, detailed=detailed)})


async def auth_check(call: Call) -> Response:
    """Answer whether the caller may read the repository: another depot asks before it fetches."""
    await call.snapshot()
    return JSONResponse({})


async def refs(call: Call) -> Response:
    """List revisions as branches, main first: llama.cpp takes main or else the first, and asks for no other."""
    branches = published.branches(await call.models())
    if not branches:
        await call.snapshot()  # raises what says why
    listed = [{"name": name, "ref": f"refs/heads/{name}", "targetCommit": one.commit} for name, one in branches.items()]
    return JSONResponse({"branches": listed, "tags": [], "converts": [], "pullRequests": []})


async def commits(call: Call) -> Response:
    """List the one commit that the depot keeps of a revision."""
    snapshot = await call.snapshot()
    title = f"Kept at the Hub's commit {snapshot.true_commit}"
    return JSONResponse(
        [{"id": snapshot.commit, "title": title, "message": "", "authors": [], "date": _changed(snapshot)}]
    )


async def search(call: Call) -> Response:
    """List ready models by a part of the name and by owner. Parameters that the depot does not know change nothing."""
    query = call.request.query_params
    limit, asked = _MOST_LISTED, query.get("limit", "")
    if asked.isdecimal():
        limit = min(int(asked[:9]), limit)
    words = {name: query.get(name, "") for name in ("search", "author")}
    if any("\0" in word for word in words.values()):
        return JSONResponse([])  # PostgreSQL has no such text
    names = await call.hub.snapshots.ready_names(**words, most=limit, limit=call.limit)
    found = await asyncio.gather(*(call.hub.snapshots.models(name) for name in names))
    defaults = [published.default(models) for models in found]
    return JSONResponse([_described(snapshot) for snapshot in defaults if snapshot])


def _described(snapshot: Snapshot) -> dict[str, Any]:
    """Return the keys that clients require: 0.23 of huggingface_hub fails without the counts, others without dates."""
    return {
        "_id": snapshot.models[0].id.hex[:24],
        "id": snapshot.name,
        "modelId": snapshot.name,
        "author": snapshot.name.partition("/")[0],
        "sha": snapshot.commit,
        "lastModified": _changed(snapshot),
        "createdAt": _date(snapshot.models[0].created_at),
        "private": False,
        "gated": False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [],
    }


def _siblings(entries: Entries, *, detailed: bool) -> list[dict[str, Any]]:
    return [{"rfilename": file.path} | (_details(file) if detailed else {}) for file in entries.files.values()]


def _details(file: File) -> dict[str, Any]:
    return {"size": file.size, "blobId": file.git_id} | ({"lfs": file.lfs} if file.lfs else {})


def _changed(snapshot: Snapshot) -> str:
    return _date(max(model.updated_at for model in snapshot.models))


def _date(moment: datetime) -> str:
    """Return the only form that all clients parse."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"
