"""Deployments as people look at them: the newest first, a page at a time; and which models may be deployed."""

from typing import Any
from uuid import UUID

from app.db.session import Database
from app.services import deployments, models
from tests import by_hand
from tests.unit.services.test_history import NOTHING


async def test_pages_hold_every_deployment_once_the_newest_first(database: Database) -> None:
    model_id = await by_hand.ready_model(database, "acme/model")
    async with database.begin() as connection:
        for number in range(5):
            name = f"deployment-{number}"
            await deployments.create(connection, model_id=model_id, model_name=None, name=name, **NOTHING)
    pages: list[list[str]] = []
    before: UUID | None = None
    async with database.read() as connection:
        assert await deployments.count(connection) == 5
        while rows := await deployments.newest(connection, limit=2, before=before):
            pages.append([row.name for row in rows])
            before = rows[-1].id
        assert [row.name for row in await deployments.newest(connection, limit=1, model_id=model_id)] == [
            "deployment-4"
        ]
        assert await deployments.newest(connection, limit=1, model_id=UUID(int=0)) == []
    assert pages == [["deployment-4", "deployment-3"], ["deployment-2", "deployment-1"], ["deployment-0"]]


async def test_only_ready_models_that_stay_may_be_deployed(database: Database) -> None:
    await by_hand.ready_model(database, "acme/zeta")
    await by_hand.ready_model(database, "acme/alpha")
    going = await by_hand.ready_model(database, "acme/going")
    async with database.begin() as connection:
        await models.request_delete(connection, going, deadline=60.0)
    await by_hand.create(database, "acme/creating")
    assert [row.name for row in await _deployable(database, 9)] == ["acme/alpha", "acme/zeta"]
    assert [row.name for row in await _deployable(database, 1)] == ["acme/alpha"]


async def _deployable(database: Database, limit: int) -> list[Any]:
    async with database.read() as connection:
        return list(await deployments.deployable(connection, limit=limit))
