"""Lists of any length: read, serialized and sent in slices, between which other requests are served.

While one is sent it holds one slice in memory and no database connection, even if its client stops reading.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

import structlog
from fastapi.responses import Response, StreamingResponse
from pydantic import TypeAdapter
from starlette.types import Send

from app.api import schemas
from app.api.answers import body, json_answer, json_bytes, plain
from app.batcher import Batcher
from app.db.errors import DatabaseUnreachable
from app.db.session import Database, Reader
from app.depot.volume import Volume, VolumeAway
from app.domain.errors import Conflict, NoAnswer, Refusal
from app.domain.keys import NameLimit
from app.domain.states import ModelStatus
from app.services import files as recorded
from app.services import lists
from app.services.rows import DeploymentRecord, ModelRecord, Placed, Record

LONGEST_PAGE = 10_000
"""Rows that a client may limit a list to."""
_FIRST, _SLICE = 500, 100
"""Rows of the first slice, which most lists fit in, and of each later one: 1 to 2 ms of work."""
_PAUSE = 0.002
"""Seconds between two slices of any lists: `tests/benchmarks/lists.py` measures the effect on other requests."""
Fetch = Callable[[Reader, Any, int], Awaitable[Sequence[Record]]]
"""Returns at most the given number of rows, those after the given row, which it returned before, or from the first."""

log = structlog.get_logger()


class Listed(NamedTuple):
    """A list: its key in the answer, its rows, and the rows as a JSON array."""

    key: str
    fetch: Fetch
    write: Callable[[Sequence[Any]], bytes]


class _Slice(NamedTuple):
    number: int
    items: bytes
    """JSON objects, with commas between."""
    last: Record | None


class Lists:
    """Makes one slice at a time, of all lists together: however many are read, they take no more of the process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = asyncio.Lock()
        self._begin_models: Batcher[None, _Slice] = Batcher(self._first_models)

    async def models(self) -> Response:
        """Return the list of all models. Concurrent requests share its first slice."""
        return self._answer(_MODELS, await self._begin_models.get(None) or _Slice(0, b"", None), None)

    async def of(self, listed: Listed, *, after: Placed | None = None, limit: int | None = None) -> Response:
        """Return at most `limit` items of a list."""
        first = await self._slice(listed, after, _FIRST if limit is None else min(limit, _FIRST))
        return self._answer(listed, first, limit)

    def _answer(self, listed: Listed, first: _Slice, limit: int | None) -> Response:
        if first.number < _FIRST or first.number == limit:
            return json_bytes(b'{"%b":[%b]}' % (listed.key.encode(), first.items))
        return _Streamed(self._all(listed, first, limit), media_type="application/json")

    async def _all(self, listed: Listed, one: _Slice, limit: int | None) -> AsyncIterator[bytes]:
        yield b'{"%b":[%b' % (listed.key.encode(), one.items)
        listed_already, wanted = one.number, _SLICE
        while limit is None or listed_already < limit:
            if limit is not None:
                wanted = min(_SLICE, limit - listed_already)
            async with self._turn:
                one = await self._slice(listed, one.last, wanted)
                await asyncio.sleep(_PAUSE)
            listed_already += one.number
            if one.number:
                yield b"," + one.items
            if one.number < wanted:
                break
        yield b"]}"

    async def _slice(self, listed: Listed, after: Record | None, number: int) -> _Slice:
        async with self._database.read() as connection:
            rows = await listed.fetch(connection, after, number)
        return _Slice(len(rows), listed.write(rows)[1:-1], rows[-1] if rows else None)

    async def _first_models(self, _keys: set[None]) -> Mapping[None, _Slice]:
        return {None: await self._slice(_MODELS, None, _FIRST)}


class _Streamed(StreamingResponse):
    """Breaks off if the rest can't be read: the last chunk is never sent, so no client takes a part for the whole."""

    async def stream_response(self, send: Send) -> None:
        try:
            await super().stream_response(send)
        except (DatabaseUnreachable, Refusal) as error:
            log.warning("a list breaks off: what follows can't be read", error=repr(error))


def write(shape: TypeAdapter[Any], rows: Sequence[Record]) -> bytes:
    """Return rows as JSON in `shape`, a list with the same columns."""
    return body(shape, plain(rows))


_MODELS = Listed("models", lists.models, partial(write, schemas.MODELS))


def models(name: str | None, status: ModelStatus | None, limit: NameLimit) -> Listed:
    """Return the list of the models of that name, in that status, within the limit."""
    return _MODELS._replace(fetch=partial(lists.models, name=name, status=status, limit=limit))


def deployments(name: str | None, model_id: UUID | None, limit: NameLimit) -> Listed:
    """Return the list of the deployments of that name, of that model, within the limit."""

    def written(rows: Sequence[DeploymentRecord]) -> bytes:
        return schemas.DEPLOYMENTS.dump_json([schemas.deployment(row) for row in rows], by_alias=True)

    return Listed("deployments", partial(lists.deployments, name=name, model_id=model_id, limit=limit), written)


async def signed_files(database: Database, volume: Volume, model_id: UUID) -> Response:
    """Return the list of a ready model's files with addresses of the object store. Raises `Conflict`, `NoAnswer`."""
    async with database.read() as connection:
        rows = await recorded.of(connection, model_id)
    try:
        signed = await volume.sign(model_id, [row.path for row in rows])
    except VolumeAway as error:
        raise NoAnswer(f"{error} Send the request again in a while.") from None
    if signed is None:
        message = (
            "'urls' is for a depot whose storage is in a bucket: here, load the model from its path, or by its name."
        )
        raise Conflict(message)
    until = datetime.fromtimestamp(signed.until, UTC)
    listed = [
        {
            "path": row.path,
            "size": row.size,
            "sha256": row.sha256,
            "url": signed.urls[row.path],
            "url_expires_at": until,
        }
        for row in rows
    ]
    return json_answer(schemas.SIGNED_FILES, {"files": listed})


def files(model: ModelRecord) -> Listed:
    """Return the list of a ready model's files."""
    return Listed("files", partial(lists.files, model=model), partial(write, schemas.FILES))
