"""Creates that come together: each has its own answer, and what is wrong with one is no business of the others."""

import asyncio
from collections import Counter
from uuid import uuid4

import pytest
from sqlalchemy import event, func, select

from app.db.access_tables import AuditRow
from app.db.errors import DatabaseUnreachable
from app.db.session import Database, open_database
from app.db.tables import ModelRow, OperationRow
from app.depot.batching import Creates
from app.domain import repositories
from app.domain.errors import Conflict, Reason
from app.domain.states import ModelStatus
from app.services import models
from app.services.audit import Act
from app.services.creates import Create
from tests import by_hand
from tests.processes import BUSY, free_port


def _asked(name: str) -> tuple[Act, Create]:
    act = Act("EXOkey", "create-model", "192.0.2.1", f"request-{name}")
    selection = repositories.select(name, "main", (), ())
    return act, Create(selection, uuid4(), 3600.0, request_id=act.request_id)


async def test_each_of_many_has_an_answer_of_its_own(database: Database) -> None:
    ready = await by_hand.create(database, "acme/ready")
    await by_hand.carry_out(database)
    failed = await by_hand.create(database, "acme/failed")
    await by_hand.fail(database, Reason.NOT_FOUND)
    creates = Creates(database)
    asked = [
        _asked(name) for name in ("acme/new", "acme/ready", "acme/twice", "acme/failed", "acme/twice", "acme/other")
    ]
    new, refused, first, again, second, other = await asyncio.gather(
        *(creates.accept(*one) for one in asked), return_exceptions=True
    )
    assert isinstance(refused, Conflict)
    assert str(ready.resource_id) in str(refused)
    assert Counter(type(one) is Conflict for one in (first, second)) == {True: 1, False: 1}
    accepted = {one.id: one for one in (new, first, second, again, other) if not isinstance(one, BaseException)}
    assert len(accepted) == 4
    assert not isinstance(again, BaseException)
    assert again.resource_id == failed.resource_id
    for (act, wanted), answer in zip(asked, (new, refused, first, again, second, other), strict=True):
        if not isinstance(answer, BaseException):
            assert (answer.id, answer.resource_id) == (wanted.operation_id, act.resource_id)
    async with database.read() as connection:
        columns = (OperationRow.id, OperationRow.request_id, ModelRow.name, ModelRow.status)
        joined = select(*columns).join(ModelRow, ModelRow.id == OperationRow.resource_id)
        rows = (await connection.execute(joined.where(OperationRow.id.in_(accepted)))).all()
        assert {(row.id, row.name) for row in rows} == {
            (wanted.operation_id, wanted.selection.name) for _, wanted in asked if wanted.operation_id in accepted
        }
        assert all(row.request_id == f"request-{row.name}" for row in rows)
        assert {row.status for row in rows} == {ModelStatus.CREATING}
        recorded = (await connection.execute(select(AuditRow.resource_id, AuditRow.outcome))).all()
    assert sorted(recorded) == sorted((one.resource_id, "accepted") for one in accepted.values())


async def test_many_are_committed_at_once(database: Database) -> None:
    commits = Counter[str]()
    event.listen(database.writer.sync_engine, "commit", lambda _: commits.update(["commit"]))
    creates = Creates(database)
    rows = await asyncio.gather(*(creates.accept(*_asked(f"acme/model-{number}")) for number in range(500)))
    assert len({row.id for row in rows}) == len({row.resource_id for row in rows}) == 500
    assert commits["commit"] <= 2
    async with database.read() as connection:
        assert (await connection.execute(select(func.count()).select_from(AuditRow))).scalar_one() == 500


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_two_processes_with_the_same_creates_never_lock_each_other_out(database_url: str) -> None:
    databases = [open_database(database_url, patience=BUSY) for _ in range(2)]
    sides = [Creates(database) for database in databases]
    for turn in range(20):
        names = [f"acme/model-{turn}-{number}" for number in range(30)]
        asked = [
            side.accept(*_asked(name))
            for side, order in zip(sides, (names, names[::-1]), strict=True)
            for name in order
        ]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert Counter(type(one) for one in answers if isinstance(one, BaseException)) == {Conflict: 30}
    for database in databases:
        await database.close()


async def test_a_database_that_is_away_refuses_them_all() -> None:
    database = open_database(f"postgresql://depot@127.0.0.1:{free_port()}/depot")
    creates = Creates(database)
    answers = await asyncio.gather(
        *(creates.accept(*_asked(f"acme/model-{number}")) for number in range(5)), return_exceptions=True
    )
    assert {type(one) for one in answers} == {DatabaseUnreachable}
    await database.close()


async def test_one_whose_caller_goes_away_is_committed_with_the_others(database: Database) -> None:
    creates = Creates(database)
    gone, stays = (asyncio.create_task(creates.accept(*_asked(f"acme/{name}"))) for name in ("gone", "stays"))
    await asyncio.sleep(0)
    gone.cancel()
    row = await stays
    async with database.read() as connection:
        names = {model.id: model.name for model in await models.list_all(connection)}
    assert set(names.values()) == {"acme/gone", "acme/stays"}
    assert names[row.resource_id] == "acme/stays"
