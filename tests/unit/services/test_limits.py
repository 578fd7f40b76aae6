"""Limits in the database: the same models as `NameLimit` permits, and nothing else that names them."""

from collections.abc import Sequence
from itertools import product
from typing import Any
from uuid import UUID

import pytest

from app.db.session import Database
from app.domain.keys import NameLimit, limit_to
from app.services import catalogue, deployments, history, limits, lists, models
from app.services.catalogue import Search
from tests import by_hand
from tests.unit.services.test_history import NOTHING

_NAMES = ("acme/a_c", "acme/abc", "Acme/a-c", "acme/a.c", "acme/chat", "other/chat", "meta-llama/Llama-3.1-8B")
_PATTERNS = (
    "acme/a_c",
    "acme/a?c",
    "acme/*",
    "ACME/A*",
    "*/chat",
    "*/*",
    "meta-llama/llama-*-?b",
    "a*e/*c",
    "acme/a.c",
)
_ACME = limit_to(["acme/*"])


async def _found(database: Database, limit: NameLimit) -> set[str]:
    async with database.read() as connection:
        placed: Sequence[Any] = await lists.models(connection, None, 100, limit=limit)
        return {row.name for row in placed}


async def test_the_database_finds_what_a_limit_permits(database: Database) -> None:
    for name in _NAMES:
        await by_hand.create(database, name)
    assert await _found(database, NameLimit()) == set(_NAMES)
    for pair in [(one,) for one in _PATTERNS] + list(product(_PATTERNS[:3], _PATTERNS[4:7])):
        limit = limit_to(pair)
        assert await _found(database, limit) == {name for name in _NAMES if limit.permits(name)}, pair


async def test_a_backslash_escapes_nothing(database: Database) -> None:
    await by_hand.create(database, "acme/a_c")
    assert await _found(database, NameLimit(("acme/a\\_c",))) == set()
    assert await _found(database, NameLimit(("acme/a%",))) == set()


async def test_lists_and_totals_of_a_limited_key_hold_its_models_only(database: Database) -> None:
    ours, theirs = [await by_hand.ready_model(database, name) for name in ("acme/chat", "other/chat")]
    async with database.begin() as connection:
        for model_id in (ours, theirs):
            await deployments.create(connection, model_id=model_id, model_name=None, name=f"of {model_id}", **NOTHING)
    async with database.read() as connection:
        assert await limits.models(connection, _ACME, [ours, theirs, UUID(int=1)]) == {ours}
        assert [row.id for row in await catalogue.find(connection, Search(limit=_ACME), limit=9, offset=0)] == [ours]
        totals = await catalogue.totals(connection, _ACME)
        assert sum(total.number for total in totals.values()) == 1
        assert (await catalogue.count(connection, Search(text="chat", limit=_ACME), totals)).number == 1
        placed: Sequence[Any] = await lists.deployments(connection, None, 9, limit=_ACME)
        assert [row.model_id for row in placed] == [ours]
        assert [row.model_id for row in await deployments.newest(connection, limit=9, reach=_ACME)] == [ours]
        assert sum((await deployments.counts(connection, deployments.Search(reach=_ACME))).values()) == 1
        assert [row.id for row in await deployments.deployable(connection, limit=9, reach=_ACME)] == [ours]
        assert {row.resource_id for row in await history.page(connection, limit=9, reach=_ACME)} >= {ours}
        assert len(await history.page(connection, limit=9, reach=_ACME)) == 2
        assert len(await history.page(connection, limit=9)) == 4


@pytest.mark.parametrize("name", ["acme/chat", "other/chat"])
async def test_an_operation_is_within_the_limit_with_its_model_even_after_all_is_gone(
    database: Database, name: str
) -> None:
    model_id = await by_hand.ready_model(database, name)
    async with database.begin() as connection:
        made = await deployments.create(connection, model_id=model_id, model_name=None, name="chat", **NOTHING)
        removed = await deployments.remove(connection, made.resource_id)
        gone = await models.request_delete(connection, model_id, deadline=60)
    await by_hand.carry_out(database)
    async with database.read() as connection:
        for operation in (made, removed, gone):
            assert await limits.has_operation(connection, _ACME, operation.id) is _ACME.permits(name)
