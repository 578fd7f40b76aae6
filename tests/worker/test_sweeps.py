"""The sweep of very many rows: no transaction is large, so that others write meanwhile, and all is swept in the end."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event, func, insert, select

from app.db.access_tables import AuditRow, SessionRow
from app.db.clock import now
from app.db.session import Database
from app.db.tables import DeploymentRow, ModelRow, OperationRow
from app.db.webhook_tables import WebhookRow
from app.domain.commands import Command
from app.domain.states import DeploymentStatus, ModelStatus, OperationState
from tests import by_hand
from worker.lanes import RunnerOptions
from worker.maintenance import sweeps

_OPTIONS = RunnerOptions(
    slots=1,
    small_slots=1,
    small=1,
    poll_interval=5.0,
    attempts=3,
    backoff=1.0,
    retention=60.0,
    audit_retention=60.0,
    error_retention=60.0,
    deployment_expiry=60.0,
    webhook_retention=60.0,
)
_MANY = 210
"""Of each kind: more than one transaction takes."""


async def test_very_many_rows_are_swept_in_small_transactions(database: Database) -> None:
    ready = await by_hand.ready_model(database, "acme/ready")
    async with database.begin() as connection:
        for number in range(_MANY):
            for table, values in _rows(number, ready):
                await connection.execute(insert(table).values(**values))
    with _changed(database) as changed:
        await sweeps.expire(database)
    assert max(changed) <= 200, changed
    async with database.read() as connection:
        overdue = select(func.count()).where(OperationRow.state == OperationState.TIMEOUT)
        assert (await connection.execute(overdue)).scalar_one() == _MANY
        models = select(func.count()).where(ModelRow.status == ModelStatus.ERROR)
        assert (await connection.execute(models)).scalar_one() == 2 * _MANY
    with _changed(database) as changed:
        await sweeps.forget(database, _OPTIONS)
    assert max(changed) <= 200, changed
    async with database.read() as connection:
        states = select(OperationRow.state, func.count()).group_by(OperationRow.state)
        found = {row[0]: row[1] for row in (await connection.execute(states)).all()}
        left = [await _count(connection, table) for table in (AuditRow, SessionRow, DeploymentRow, ModelRow)]
    # The download of the model that is ready ended just now, as did those that were overdue. Their models have failed
    # just now, too.
    assert found == {OperationState.SUCCESS: 1, OperationState.TIMEOUT: _MANY}
    assert left == [0, 0, 0, _MANY + 1]


async def test_what_one_pass_leaves_the_next_one_takes(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass over very many rows would keep a worker from announcing itself."""
    monkeypatch.setattr(sweeps, "_STEPS", 1)
    session = {"key_id": "EXOold", "created_at": now(-100.0), "expires_at": now(-100.0)}
    async with database.begin() as connection:
        for _ in range(_MANY):
            await connection.execute(insert(SessionRow).values(id=uuid4().hex, **session))
    left = []
    for _ in range(2):
        await sweeps.forget(database, _OPTIONS)
        async with database.read() as connection:
            left.append(await _count(connection, SessionRow))
    assert left == [10, 0]


@contextmanager
def _changed(database: Database) -> Iterator[list[int]]:
    """The numbers of rows that each transaction changed."""
    changed: list[int] = []
    engine = database.writer.sync_engine

    def begun(_: Any) -> None:
        changed.append(0)

    def executed(_: Any, cursor: Any, *__: Any) -> None:
        changed[-1] += max(cursor.rowcount, 0)

    event.listen(engine, "begin", begun)
    event.listen(engine, "after_cursor_execute", executed)
    try:
        yield changed
    finally:
        event.remove(engine, "begin", begun)
        event.remove(engine, "after_cursor_execute", executed)


def _rows(number: int, ready: Any) -> Iterator[tuple[type, dict[str, Any]]]:
    """One row of everything that is swept."""
    old = now(-100.0)
    model: dict[str, Any] = {
        "revision": "main",
        "include": [],
        "exclude": [],
        "deleting": False,
        "created_at": old,
        "updated_at": old,
    }
    overdue, failed = uuid4(), uuid4()
    for model_id, status in ((overdue, ModelStatus.CREATING), (failed, ModelStatus.ERROR)):
        name = f"acme/{status}-{number}"
        yield ModelRow, model | {"id": model_id, "name": name, "fingerprint": name, "status": status}
    operation: dict[str, Any] = {
        "command": Command.CREATE_MODEL,
        "created_at": old,
        "deadline_at": old,
        "due_at": old,
        "fence": 0,
        "attempts": 0,
        "reached": 0,
    }
    pending, ended = {"state": OperationState.PENDING}, {"state": OperationState.SUCCESS, "ended_at": old}
    yield OperationRow, operation | {"id": uuid4(), "resource_id": overdue} | pending
    yield OperationRow, operation | {"id": uuid4(), "resource_id": uuid4()} | ended
    record = {"key_id": "EXOold", "action": "create-model", "address": "192.0.2.7", "outcome": "accepted"}
    yield AuditRow, record | {"id": uuid4(), "at": old}
    yield SessionRow, {"id": uuid4().hex, "key_id": "EXOold", "created_at": old, "expires_at": old}
    message = {"event": "model.ready", "model_id": uuid4(), "model_name": "acme/old", "body": "{}", "attempts": 0}
    yield WebhookRow, message | {"id": uuid4(), "created_at": old, "due_at": old}
    deployment = {"status": DeploymentStatus.READY, "inference_engine_parameters": [], "by_pull": True}
    dates = {"created_at": old, "updated_at": old, "last_seen_at": old}
    yield DeploymentRow, deployment | dates | {"id": uuid4(), "name": f"d-{number}", "model_id": ready}


async def _count(connection: Any, table: type) -> int:
    return int((await connection.execute(select(func.count()).select_from(table))).scalar_one())
