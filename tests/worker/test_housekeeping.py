"""What workers remove by themselves, and what they must not touch."""

import os
import re
import time
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete

from app.db.session import Database
from app.db.tables import ModelRow, OperationRow
from app.db.transitions import end_operation
from app.domain.commands import Command
from app.domain.repositories import Selection
from app.domain.states import OperationState
from app.services import leases, models
from tests.app import by_hand
from tests.conftest import StartDepot
from tests.hub import Hub
from tests.processes import until
from worker.housekeeping import tidy
from worker.storage import Attempt, Storage, label


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    storage = Storage(tmp_path / "storage")
    storage.prepare()
    return storage


async def test_what_is_left_of_a_deleted_model_is_removed_and_that_of_a_living_one_stays(
    database: Database, storage: Storage
) -> None:
    dead, alive = await _model(database, "acme/dead"), await _model(database, "acme/alive")
    for model_id, name in ((dead, "acme/dead"), (alive, "acme/alive")):
        _publish(storage, model_id, name)
        _arrive(storage, model_id)
    (storage.root / "trash" / f"{uuid4()}.{uuid4().hex}").mkdir()
    await _delete(database, dead)
    before = {path for path in _everything(storage) if str(alive) in path or "alive" in path}
    await tidy(database, storage)
    assert {path for path in _everything(storage) if path.count("/")} == before | {"by-name/acme"}


async def test_a_model_that_is_still_written_is_left_alone_until_its_writer_is_gone(
    database: Database, storage: Storage
) -> None:
    dead = await _model(database, "acme/dead")
    _arrive(storage, dead)
    await _delete(database, dead)
    with storage.alone(dead):
        await tidy(database, storage)
        assert list(storage.root.glob("incoming/*/*/tree/config.json"))
    await tidy(database, storage)
    assert not list((storage.root / "incoming").iterdir())


async def test_published_models_that_this_database_never_knew_are_left_alone(
    database: Database, storage: Storage
) -> None:
    stranger = uuid4()
    _publish(storage, stranger, "acme/stranger")
    _arrive(storage, stranger)
    await tidy(database, storage)
    assert (storage.root / "by-name" / "acme" / "stranger" / "config.json").read_text() == "{}"
    assert [path.name for path in (storage.root / "incoming").iterdir()] == [str(stranger)]
    _age(storage, stranger)
    await tidy(database, storage)
    assert not list((storage.root / "incoming").iterdir())
    assert (storage.root / "by-name" / "acme" / "stranger" / "config.json").read_text() == "{}"


async def test_a_row_that_is_missing_proves_no_delete(database: Database, storage: Storage) -> None:
    """As after a restore that brought the operations back and failed at the models."""
    model_ids = [await _model(database, f"acme/{number}") for number in range(5)]
    for number, model_id in enumerate(model_ids):
        await by_hand.carry_out(database)
        _publish(storage, model_id, f"acme/{number}")
        _arrive(storage, model_id)
    before = _everything(storage)
    async with database.begin() as connection:
        await connection.execute(delete(ModelRow))
    await tidy(database, storage)
    assert _everything(storage) == before


async def test_many_at_once_are_not_removed(database: Database, storage: Storage) -> None:
    model_ids = [await _model(database, f"acme/{number}") for number in range(4)]
    for number, model_id in enumerate(model_ids):
        _publish(storage, model_id, f"acme/{number}")
        await _delete(database, model_id)
    before = _everything(storage)
    await tidy(database, storage)
    assert _everything(storage) == before
    async with database.begin() as connection:
        await connection.execute(delete(OperationRow).where(OperationRow.resource_id == model_ids[0]))
    await tidy(database, storage)
    assert [path.name for path in (storage.root / "models").iterdir()] == [str(model_ids[0])]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_worker_tidies_up_by_itself(start_depot: StartDepot, hub: Hub) -> None:
    hub.add("acme/tiny", {"config.json": b"{}"})
    depot = start_depot(workers=0)
    storage = Storage(depot.storage)
    storage.prepare()
    orphan = uuid4()
    _arrive(storage, orphan)
    _age(storage, orphan)
    (depot.storage / "by-name" / "acme").mkdir()
    (depot.storage / "by-name" / "acme" / "gone").symlink_to(f"../../models/{orphan}")
    depot.start_worker()
    until(lambda: not list(depot.storage.glob("incoming/*")) and not list(depot.storage.glob("by-name/*")), depot.logs)
    assert depot.wait(depot.create("acme/tiny")["id"])["state"] == "success"


async def _model(database: Database, name: str) -> UUID:
    selection = Selection(name, "main", (), ())
    async with database.begin() as connection:
        operation = await models.create(connection, models.Create(selection, uuid4(), deadline=60))
    model_id: UUID = operation.resource_id
    return model_id


async def _delete(database: Database, model_id: UUID) -> None:
    """As a worker does that removes no file."""
    async with database.begin() as connection:
        await models.request_delete(connection, model_id, deadline=60)
        claim = await leases.claim(connection, "test", lease=60, commands=(Command.DELETE_MODEL,))
        if claim:
            await end_operation(connection, claim.lease, OperationState.SUCCESS)
        await models.forget(connection, model_id)


def _age(storage: Storage, model_id: UUID) -> None:
    """As if nothing had arrived of it for eight days."""
    folder = storage.incoming(model_id)
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (0, time.time() - 8 * 86_400))


def _arrive(storage: Storage, model_id: UUID) -> Attempt:
    """As a download that was cut off leaves it."""
    attempt = Attempt(model_id, uuid4(), 1)
    tree = storage.attempt(attempt) / "tree"
    tree.mkdir(parents=True)
    (tree / "config.json").write_text("{}")
    return attempt


def _publish(storage: Storage, model_id: UUID, name: str) -> None:
    storage.publish(_arrive(storage, model_id))
    storage.link(model_id, label(name, "main", "", patterns=False))


def _everything(storage: Storage) -> set[str]:
    return {path.relative_to(storage.root).as_posix() for path in storage.root.rglob("*")}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_workers_forget_the_audit_of_long_ago(start_depot: StartDepot) -> None:
    depot = start_depot(audit_retention=0.5)
    assert depot.client.delete(f"/ai/model/{uuid4()}").status_code == 404
    # With the refusal goes the record of the key that was there from the start.
    until(lambda: bool(re.search(r'"audit": [1-9]\d*, "event": "swept"', depot.logs())), depot.logs)
