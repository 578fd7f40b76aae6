"""Lists of any length: read, written and sent in slices, between which everything else goes on.

While one is sent it holds a slice of memory, and no connection to the database: also where its client does not read on.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

import structlog
from fastapi.responses import Response, StreamingResponse
from pydantic import TypeAdapter
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.types import Send

from app.api import schemas
from app.api.answers import body, json_bytes, plain
from app.batcher import Batcher
from app.db.errors import DatabaseUnreachable
from app.db.session import Database
from app.domain.errors import Refusal
from app.domain.states import ModelStatus
from app.services import lists

LONGEST_PAGE = 10_000
"""Rows that a client may limit a list to."""
_FIRST, _SLICE = 500, 100
"""Rows of the first slice, which most lists fit in, and of each that follows: 1 to 2 ms of work."""
_PAUSE = 0.002
"""Seconds between two slices, whichever list they are of: `tests/benchmarks/lists.py` tells what others notice."""
Fetch = Callable[[AsyncConnection, Row[Any] | None, int], Awaitable[Sequence[Row[Any]]]]
"""At most so many rows: those that follow the given one."""

log = structlog.get_logger()


class Listed(NamedTuple):
    """What a list is of: its key in the answer, its rows, and those as a JSON array."""

    key: str
    fetch: Fetch
    write: Callable[[Sequence[Row[Any]]], bytes]


class _Slice(NamedTuple):
    number: int
    items: bytes
    """JSON objects, with commas between."""
    last: Row[Any] | None


class Lists:
    """One slice is made at a time, of all lists together: however many are read, they take no more of the process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = asyncio.Lock()
        self._begin_models: Batcher[None, _Slice] = Batcher(self._first_models)

    async def models(self) -> Response:
        """Of all models. Those who ask at the same time share its first slice."""
        return self._answer(_MODELS, await self._begin_models.get(None) or _Slice(0, b"", None), None)

    async def of(self, listed: Listed, *, after: Row[Any] | None = None, limit: int | None = None) -> Response:
        """At most `limit` of what is listed."""
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

    async def _slice(self, listed: Listed, after: Row[Any] | None, number: int) -> _Slice:
        async with self._database.read() as connection:
            rows = await listed.fetch(connection, after, number)
        return _Slice(len(rows), listed.write(rows)[1:-1], rows[-1] if rows else None)

    async def _first_models(self, _keys: set[None]) -> Mapping[None, _Slice]:
        return {None: await self._slice(_MODELS, None, _FIRST)}


class _Streamed(StreamingResponse):
    """Breaks off where the rest can't be had: the last chunk is never sent, so no client takes what it has for the whole."""

    async def stream_response(self, send: Send) -> None:
        try:
            await super().stream_response(send)
        except (DatabaseUnreachable, Refusal) as error:
            log.warning("a list breaks off: what follows can't be read", error=repr(error))


def write(shape: TypeAdapter[Any], rows: Sequence[Row[Any]]) -> bytes:
    """Rows whose columns are as `shape`, a list, has them."""
    return body(shape, plain(rows))


_MODELS = Listed("models", lists.models, partial(write, schemas.MODELS))


def models(name: str | None, status: ModelStatus | None) -> Listed:
    """Those of that name, in that status."""
    return _MODELS._replace(fetch=partial(lists.models, name=name, status=status))


def deployments(name: str | None, model_id: UUID | None) -> Listed:
    """The one of that name, those of that model."""

    def written(rows: Sequence[Row[Any]]) -> bytes:
        return schemas.DEPLOYMENTS.dump_json([schemas.deployment(row) for row in rows], by_alias=True)

    return Listed("deployments", partial(lists.deployments, name=name, model_id=model_id), written)


def files(model: Row[Any]) -> Listed:
    """Of a model that is ready."""
    return Listed("files", partial(lists.files, model=model), partial(write, schemas.FILES))
