"""Deployments as people look at them: the newest first, a page at a time; and which models may be deployed."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import update

from app.db.session import Database
from app.db.tables import DeploymentRow
from app.domain.keys import UNLIMITED, NameLimit
from app.services import deployments, models
from app.services.deployments import Kind, Search
from tests import by_hand
from tests.unit.services.test_history import NOTHING


async def test_pages_hold_every_deployment_once_the_newest_first(database: Database) -> None:
    model_id = await by_hand.ready_model(database, "acme/model")
    async with database.begin() as connection:
        for number in range(5):
            name = f"deployment-{number}"
            await deployments.create(connection, model_id=model_id, model_name=None, name=name, **NOTHING)
    pages: list[list[str]] = []
    view: dict[str, Any] = {"sort": "-created", "limit": 2}
    async with database.read() as connection:
        assert await deployments.counts(connection, Search()) == {Kind.DECLARED: 5, Kind.BY_PULL: 0}
        while rows := await deployments.find(connection, Search(), offset=2 * len(pages), **view):
            pages.append([row.name for row in rows])
        assert [row.name for row in await deployments.newest(connection, limit=1, model_id=model_id)] == [
            "deployment-4"
        ]
        assert await deployments.newest(connection, limit=1, model_id=UUID(int=0)) == []
    assert pages == [["deployment-4", "deployment-3"], ["deployment-2", "deployment-1"], ["deployment-0"]]


async def test_they_are_found_by_a_part_of_their_name_or_their_models_and_sorted(database: Database) -> None:
    for model, names in (("acme/Base", ["chat", "Batch"]), ("other/model", ["api"])):
        model_id = await by_hand.ready_model(database, model)
        for name in names:
            async with database.begin() as connection:
                await deployments.create(connection, model_id=model_id, model_name=None, name=name, **NOTHING)

    async def found(text: str, sort: str, reach: NameLimit = UNLIMITED) -> list[str]:
        async with database.read() as connection:
            search = Search(text, reach=reach)
            rows = await deployments.find(connection, search, sort=sort, limit=9, offset=0)
            counts = await deployments.counts(connection, search)
            assert sum(counts.values()) == len(rows)
            for kind in Kind:
                of_kind = replace(search, kind=kind)
                found = await deployments.find(connection, of_kind, sort=sort, limit=9, offset=0)
                assert [row.kind for row in found] == [kind] * counts[kind]
            return [row.name for row in rows]

    async with database.begin() as connection:
        await connection.execute(update(DeploymentRow).where(DeploymentRow.name == "chat").values(by_pull=True))
    async with database.read() as reader:
        assert await deployments.counts(reader, Search("base")) == {Kind.DECLARED: 1, Kind.BY_PULL: 1}
    assert await found("", "name") == ["api", "Batch", "chat"]
    assert await found("", "-model") == ["api", *await found("base", "-model")]
    assert sorted(await found("ACME/", "name")) == ["Batch", "chat"]
    assert await found("AP", "created") == ["api"]
    assert await found("", "name", NameLimit(("other/*",))) == ["api"]
    async with database.read() as reader:
        of_model = Search(model_id=model_id)
        assert await deployments.counts(reader, of_model) == {Kind.DECLARED: 1, Kind.BY_PULL: 0}
        rows = await deployments.find(reader, of_model, sort="name", limit=9, offset=0)
    assert [row.name for row in rows] == ["api"]


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
