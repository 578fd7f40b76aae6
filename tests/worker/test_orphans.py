"""What workers remove by themselves, and what they must not touch."""

import os
import re
import shutil
import time
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, update

from app.db.clock import moment
from app.db.revisions import revisions
from app.db.session import Database
from app.db.tables import ModelRow, OperationRow
from app.depot.readiness import Readiness, Status
from app.depot.volume import Volume
from app.services import creates, models, storages
from app.storage.abilities import PREFIX
from app.storage.base import Attempt
from app.storage.names import label
from app.storage.posix import PosixStore
from app.wakeup import Wakeup, connect
from tests import by_hand
from tests.conftest import StartDepot
from tests.fakehub.hub import Hub
from tests.processes import until
from tests.storage.attempts import LABEL, manifest_of
from worker.maintenance.orphans import tidy

DAY = 86_400.0


@pytest.fixture
def storage(tmp_path: Path) -> PosixStore:
    storage = PosixStore(tmp_path / "storage", keep=7 * DAY)
    storage.prepare()
    return storage


async def test_what_is_left_of_a_deleted_model_is_taken_away_and_that_of_a_living_one_stays(
    database: Database, storage: PosixStore
) -> None:
    dead, alive = await _model(database, storage, "acme/dead"), await _model(database, storage, "acme/alive")
    for model_id in (dead, alive):
        _arrive(storage, model_id)
    (storage.layout.root / "trash" / f"{uuid4()}.{uuid4().hex}").mkdir()
    await _delete(database, dead)
    before = {path for path in _everything(storage) if (str(alive) in path or "alive" in path) and "depot/" not in path}
    await _tidy(database, storage)
    left = {path for path in _everything(storage) if "/" in path and not path.startswith(("removed/", "depot/"))}
    assert left == before | {"by-name/acme"}
    (entry,) = storage.removed()
    assert entry.model_id == dead
    assert storage.restore(dead)
    assert (storage.layout.published(dead) / "config.json").read_text() == "{}"


async def test_a_restore_that_failed_half_way_costs_no_file(
    database: Database, storage: PosixStore, redis_url: str
) -> None:
    """Operations are there, of creates above all, and models are not: `pg_restore --data-only` goes on after errors."""
    kept = [await _model(database, storage, f"acme/model-{number}") for number in range(5)]
    deleted = await _model(database, storage, "acme/deleted")
    await _delete(database, deleted)
    before = _everything(storage)
    async with database.begin() as connection:
        await connection.execute(delete(ModelRow))
    await _tidy(database, storage)
    assert before <= _everything(storage)
    assert "modeldepot storage adopt" in await _housekeeping(database, storage, redis_url)
    # One model is enough for the database not to look lost.
    await _model(database, storage, "acme/new")
    await _tidy(database, storage)
    assert storage.published_ids() >= set(kept)
    assert deleted not in storage.published_ids()
    assert await _housekeeping(database, storage, redis_url) == ""


async def test_if_more_than_a_few_would_go_at_once_none_does_and_readiness_says_so(
    database: Database, storage: PosixStore, redis_url: str
) -> None:
    await _model(database, storage, "acme/alive")
    dead = [await _model(database, storage, f"acme/model-{number}") for number in range(4)]
    for model_id in dead:
        await _delete(database, model_id)
    await _tidy(database, storage)
    assert storage.published_ids() >= set(dead)
    assert "4 models" in await _housekeeping(database, storage, redis_url)
    shutil.rmtree(storage.layout.published(dead[0]))
    await _tidy(database, storage)
    assert len(storage.published_ids()) == 1
    assert await _housekeeping(database, storage, redis_url) == ""


async def test_a_create_that_is_remembered_is_no_word_that_a_model_was_deleted(
    database: Database, storage: PosixStore
) -> None:
    await _model(database, storage, "acme/alive")
    lost = await _model(database, storage, "acme/lost")
    async with database.begin() as connection:
        await models.forget(connection, lost)
    await _tidy(database, storage)
    assert (storage.layout.root / "by-name" / "acme" / "lost" / "config.json").read_text() == "{}"


async def test_what_arrives_of_an_unknown_model_stays_until_it_was_not_touched_for_days(
    database: Database, storage: PosixStore
) -> None:
    """It may be another depot's, or of a model that an older dump doesn't know."""
    await _model(database, storage, "acme/alive")
    stranger = uuid4()
    attempt = _arrive(storage, stranger)
    await _tidy(database, storage)
    assert storage.layout.tree(attempt).joinpath("config.json").exists()
    _age(storage, stranger)
    await _tidy(database, storage)
    assert storage.layout.arriving(stranger) == []


async def test_what_arrived_of_a_ready_model_goes_once_nothing_works_on_it_for_days(
    database: Database, storage: PosixStore
) -> None:
    """A process wrote it that woke up too late, or a repair that failed."""
    model_id = await _model(database, storage, "acme/alive")
    _arrive(storage, model_id)
    await _tidy(database, storage)
    assert storage.layout.arriving(model_id), "it was touched just now"
    _age(storage, model_id)
    async with database.begin() as connection:
        await creates.repair(connection, model_id, operation_id=uuid4(), sealed_token=None, deadline=60)
    await _tidy(database, storage)
    assert storage.layout.arriving(model_id), "a repair goes on from it"
    async with database.begin() as connection:
        await connection.execute(delete(OperationRow))
    await _tidy(database, storage)
    assert not storage.layout.arriving(model_id)
    assert storage.has(model_id)


async def test_a_model_that_is_still_written_is_left_alone_until_its_writer_is_gone(
    database: Database, storage: PosixStore
) -> None:
    await _model(database, storage, "acme/alive")
    dead = await _model(database, storage, "acme/dead", published=False)
    _arrive(storage, dead)
    await _delete(database, dead)
    with storage.arrival(Attempt(dead, LABEL, uuid4(), 2)):
        await _tidy(database, storage)
        assert storage.layout.arriving(dead)
    await _tidy(database, storage)
    assert not storage.layout.arriving(dead)


async def test_what_a_worker_left_that_was_killed_trying_the_file_system_is_removed(
    database: Database, storage: PosixStore
) -> None:
    left = [storage.layout.root / name / f"{PREFIX}{uuid4().hex}" for name in ("incoming", "verified", "models")]
    fresh = storage.layout.root / "incoming" / f"{PREFIX}{uuid4().hex}"
    for folder in (*left, fresh):
        folder.mkdir()
    for folder in left:
        os.utime(folder, (time.time() - 7200,) * 2)
    await _tidy(database, storage)
    assert [folder for folder in (*left, fresh) if folder.exists()] == [fresh]


async def test_the_trash_is_emptied_after_its_time(database: Database, storage: PosixStore) -> None:
    await _model(database, storage, "acme/alive")
    for age in (6, 8):
        (storage.layout.root / "removed" / f"{uuid4()}.{int(time.time() - age * DAY)}").mkdir()
    await _tidy(database, storage)
    (left,) = storage.removed()
    assert time.time() - left.since < 7 * DAY


async def test_a_ready_model_whose_folder_is_gone_is_in_error_and_one_that_has_just_come_is_not(
    database: Database, storage: PosixStore
) -> None:
    alive, lost, new = [await _model(database, storage, f"acme/{name}") for name in ("alive", "lost", "new")]
    async with database.begin() as connection:
        await connection.execute(update(ModelRow).where(ModelRow.id != new).values(updated_at=moment(-3600)))
    for model_id in (lost, new):
        shutil.rmtree(storage.layout.published(model_id))
    await _tidy(database, storage)
    async with database.read() as connection:
        rows = await models.get_many(connection, [alive, lost, new])
    assert {model_id: row.status.value for model_id, row in rows.items()} == {
        alive: "ready",
        lost: "error",
        new: "ready",
    }
    assert "gone from the storage" in (rows[lost].message or "")


async def test_models_of_an_older_version_get_their_manifests(database: Database, storage: PosixStore) -> None:
    model_id = await _model(database, storage, "acme/old")
    (storage.layout.depot / f"{model_id}.json").unlink()
    async with database.begin() as connection:
        await connection.execute(update(ModelRow).values(updated_at=moment(-3600)))
    await _tidy(database, storage)
    (manifest,) = storage.records(model_id)
    assert (manifest.name, [tuple(file)[:3] for file in manifest.files]) == ("acme/old", by_hand.FILES)


async def test_of_all_workers_one_tidies_in_an_hour(database: Database) -> None:
    async def due() -> bool:
        async with database.begin() as connection:
            return await storages.begin_tidying(connection, every=3600)

    assert [await due() for _ in range(3)] == [True, False, False]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_worker_tidies_up_by_itself(start_depot: StartDepot, hub: Hub) -> None:
    hub.add("acme/tiny", {"config.json": b"{}"})
    depot = start_depot(workers=0)
    storage = PosixStore(depot.storage)
    storage.prepare()
    (depot.storage / "by-name" / "acme").mkdir()
    (depot.storage / "by-name" / "acme" / "gone").symlink_to(f"../../models/{uuid4()}")
    depot.start_worker()
    until(lambda: not list(depot.storage.glob("by-name/*")), depot.logs)
    assert depot.wait(depot.create("acme/tiny")["id"])["state"] == "success"


async def _tidy(database: Database, storage: PosixStore) -> None:
    await tidy(database, storage, every=0)


async def _model(database: Database, storage: PosixStore, name: str, *, published: bool = True) -> UUID:
    """A ready one."""
    model_id = await by_hand.ready_model(database, name)
    if published:
        attempt = _arrive(storage, model_id)
        storage.publish(attempt, manifest_of(attempt))
        storage.link(label(name, "main", "", patterns=False), model_id)
    return model_id


async def _delete(database: Database, model_id: UUID) -> None:
    """As a worker does that was replaced: it says so, and another one has just put files back."""
    async with database.begin() as connection:
        await models.request_delete(connection, model_id, deadline=60)
    await by_hand.carry_out(database)


async def _housekeeping(database: Database, storage: PosixStore, redis_url: str) -> str:
    """What /readyz says of it."""
    wakeup = Wakeup(connect(redis_url))
    volume = Volume(storage, writes=True, database=database)
    status, report = await Readiness(database, revisions(), wakeup, volume).report()
    await wakeup.close()
    message = str(report["checks"]["housekeeping"].get("message", ""))
    assert status is (Status.DEGRADED if message else Status.OK)
    return message


def _arrive(storage: PosixStore, model_id: UUID) -> Attempt:
    """As a download that was cut off leaves it."""
    attempt = Attempt(model_id, LABEL, uuid4(), 1)
    storage.layout.scratch(attempt).mkdir(parents=True)
    storage.layout.tree(attempt).mkdir()
    (storage.layout.tree(attempt) / "config.json").write_text("{}")
    return attempt


def _age(storage: PosixStore, model_id: UUID) -> None:
    """Nothing touched what arrived of the model for longer than the trash is kept."""
    long_ago = time.time() - 8 * DAY
    for folder in storage.layout.arriving(model_id):
        for path in (folder, *folder.rglob("*")):
            os.utime(path, (long_ago, long_ago))


def _everything(storage: PosixStore) -> set[str]:
    return {path.relative_to(storage.layout.root).as_posix() for path in storage.layout.root.rglob("*")}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_workers_forget_the_audit_of_long_ago(start_depot: StartDepot) -> None:
    depot = start_depot(audit_retention=0.5)
    assert depot.client.delete(f"/ai/model/{uuid4()}").status_code == 404
    # With the refusal goes the record of the key that was there from the start.
    until(lambda: bool(re.search(r'"audit": [1-9]\d*, "event": "forgot what is old"', depot.logs())), depot.logs)
