"""Deployments that pulls declare and renew."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, update

from app.db.clock import now
from app.db.session import Database
from app.db.tables import DeploymentRow
from app.domain.errors import Conflict, ModelInUse
from app.services import declarations, deployments, models
from tests import by_hand
from tests.unit.services.test_history import NOTHING

_KEY = "EXOkeyofthetest"


async def _all(database: Database) -> list[Any]:
    async with database.read() as connection:
        query = select(*DeploymentRow.__table__.columns).order_by(DeploymentRow.created_at)
        return list((await connection.execute(query)).all())


async def _age(database: Database, seconds: float) -> None:
    async with database.begin() as connection:
        await connection.execute(update(DeploymentRow).values(last_seen_at=now(-seconds)))


async def _declare(database: Database, model_id: UUID, name: str, key_id: str = _KEY) -> Any:
    async with database.begin() as connection:
        return await declarations.declare_by_pull(connection, model_id, name, key_id)


async def _recent(database: Database) -> int:
    async with database.read() as connection:
        query = select(func.count()).where(DeploymentRow.last_seen_at > now(-30))
        return (await connection.execute(query)).scalar_one()


async def test_a_pull_declares_a_deployment_once_and_renews_it_then(database: Database) -> None:
    model_id = await by_hand.ready_model(database, "acme/chat")
    made = await _declare(database, model_id, "vllm")
    assert made.resource_name == "vllm"
    with pytest.raises(ModelInUse):
        async with database.begin() as connection:
            await models.request_delete(connection, model_id, deadline=60)
    await _age(database, 3600)
    assert await _declare(database, model_id, "vllm") is None
    (row,) = await _all(database)
    assert (row.id, row.key_id, row.by_pull) == (made.resource_id, _KEY, True)
    assert await _recent(database) == 1


async def test_an_engine_that_pulls_two_models_holds_both(database: Database) -> None:
    first, second = [await by_hand.ready_model(database, name) for name in ("acme/base", "acme/adapter")]
    for _ in range(2):
        for model_id in (first, second):
            await _declare(database, model_id, "vllm")
    assert [(row.model_id, row.name) for row in await _all(database)] == [(first, "vllm"), (second, f"vllm ({second})")]


async def test_a_model_that_is_going_or_gone_or_arriving_takes_none(database: Database) -> None:
    arriving = await by_hand.create(database, "acme/arriving")
    going = await by_hand.create(database, "acme/going")
    await by_hand.carry_out(database)
    await by_hand.carry_out(database)
    async with database.begin() as connection:
        await models.request_delete(connection, going.resource_id, deadline=60)
    fresh = await by_hand.create(database, "acme/fresh")
    for model_id in (going.resource_id, fresh.resource_id, UUID(int=7)):
        assert await _declare(database, model_id, "vllm") is None
    assert await _all(database) == []
    assert await _declare(database, arriving.resource_id, "vllm") is not None


async def test_a_pull_renews_the_deployments_of_its_key_and_model_at_most_once_a_minute(database: Database) -> None:
    model_id, other = [await by_hand.ready_model(database, name) for name in ("acme/chat", "acme/other")]
    async with database.begin() as connection:
        for number, (of, key_id) in enumerate(
            [(model_id, _KEY), (other, _KEY), (model_id, "EXOanother"), (model_id, None)]
        ):
            await deployments.create(
                connection, model_id=of, model_name=None, name=f"{number}", key_id=key_id, **NOTHING
            )
        await declarations.seen(connection, _KEY, model_id)
    first = {row.name: row.last_seen_at for row in await _all(database)}
    assert [name for name, at in first.items() if at] == ["0"]
    async with database.begin() as connection:
        await declarations.seen(connection, _KEY, model_id)
    assert {row.name: row.last_seen_at for row in await _all(database)} == first


async def test_what_a_pull_declared_expires_unseen_and_what_a_person_made_never(database: Database) -> None:
    model_id = await by_hand.ready_model(database, "acme/chat")
    async with database.begin() as connection:
        await deployments.create(connection, model_id=model_id, model_name=None, name="by hand", key_id=_KEY, **NOTHING)
    await _declare(database, model_id, "silent")
    await _age(database, 100)
    await _declare(database, model_id, "alive")
    for unseen, left in ((200.0, ["by hand", "silent", "alive"]), (90.0, ["by hand", "alive"])):
        async with database.begin() as connection:
            await declarations.expire(connection, unseen=unseen, limit=100)
        assert [row.name for row in await _all(database)] == left


async def test_a_key_declares_only_so_many(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declarations, "_MOST", 2)
    model_id = await by_hand.ready_model(database, "acme/chat")
    for name in ("a", "b"):
        assert await _declare(database, model_id, name)
    with pytest.raises(Conflict):
        await _declare(database, model_id, "c")
    assert await _declare(database, model_id, "a") is None
    assert await _declare(database, model_id, "c", "EXOanother")
