"""A full disk under SQLite and the models: it is called so, and what is there can be deleted by the depot's own means."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.conftest import StartDepot
from tests.depot import Depot
from tests.fakehub.hub import Hub, Synthetic
from tests.faults.conftest import mounted
from tests.processes import until
from tests.servers import PostgreSQL

MIB = 1 << 20
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 160 MiB."""
    folder = tmp_path / "disk"
    with mounted(folder, 160) as problem:
        if problem:
            pytest.skip(problem)
        yield folder


@SQLITE
def test_a_delete_gets_through_on_a_full_disk(
    hub: Hub, start_depot: StartDepot, migrated_sqlite: Path, disk: Path
) -> None:
    depot, model_id = _on(disk, start_depot, migrated_sqlite, hub)
    try:
        assert _ready(depot).status_code == 200
        _fill(disk / "filler")
        until(lambda: _ready(depot).status_code == 503, depot.logs)
        assert "is full" in _ready(depot).json()["checks"]["database"]["message"]
        refused = _create(depot, "acme/other")
        assert (refused.status_code, "is full" in refused.json()["error"]) == (503, True), refused.text
        deleted = depot.client.delete(f"/ai/model/{model_id}")
        assert deleted.status_code == 200, deleted.text
        assert depot.wait(deleted.json()["id"])["state"] == "success", depot.logs()
        until(lambda: _ready(depot).status_code == 200, depot.logs)
        assert shutil.disk_usage(disk).free > 30 * MIB
    finally:
        depot.close()


@SQLITE
def test_a_delete_that_was_accepted_before_the_disk_was_full_gets_through(
    hub: Hub, start_depot: StartDepot, migrated_sqlite: Path, disk: Path
) -> None:
    depot, model_id = _on(disk, start_depot, migrated_sqlite, hub)
    try:
        depot.workers[0].terminate()
        depot.workers[0].wait()
        deletion = depot.client.delete(f"/ai/model/{model_id}").json()
        _fill(disk / "filler")
        depot.start_worker()
        assert depot.wait(deletion["id"])["state"] == "success", depot.logs()
    finally:
        depot.close()


@SQLITE  # for the fixture only
def test_a_postgresql_whose_disk_is_full_or_that_is_read_only_is_called_so(
    start_depot: StartDepot, postgresql: PostgreSQL
) -> None:
    disk, database_url = postgresql.folder / "disk", postgresql.migrated()
    name = database_url.rpartition("/")[2]
    with mounted(disk, 24) as problem:
        if problem:
            pytest.skip(problem)
        with postgresql.tablespace(disk) as place:
            postgresql.execute(f"ALTER DATABASE {name} SET TABLESPACE {place}")
            depot = start_depot(database_url=database_url, workers=0)
            try:
                _fill(disk / "filler")
                refused = next(answer for n in range(1000) if (answer := _create(depot, f"acme/m-{n}")).is_error)
                assert (refused.status_code, "is full" in refused.json()["error"]) == (503, True), refused.text
                (disk / "filler").unlink()
                assert _create(depot, "acme/other").is_success
                postgresql.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
                _start_again(depot)
                refused = _create(depot, "acme/another")
                assert (refused.status_code, "is read-only" in refused.json()["error"]) == (503, True), refused.text
                assert "is read-only" in _ready(depot).json()["checks"]["database"]["message"]
            finally:
                depot.close()
                postgresql.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _create(depot: Depot, name: str) -> httpx2.Response:
    return depot.client.post("/ai/model", json={"name": name})


def _start_again(depot: Depot) -> None:
    assert depot.api
    depot.api.terminate()
    depot.api.wait()
    depot.start_api()


def _on(disk: Path, start_depot: StartDepot, migrated_sqlite: Path, hub: Hub) -> tuple[Depot, str]:
    """A depot that has its rows and its models on one disk, and its one model, of 40 MiB."""
    shutil.copy(migrated_sqlite, disk / "depot.sqlite3")
    hub.add("acme/large", {"model.safetensors": Synthetic(40 * MIB, 1)})
    depot = start_depot(database_url=f"sqlite:///{disk / 'depot.sqlite3'}", storage=disk / "storage", reserve=0)
    model_id = depot.wait(depot.create("acme/large")["id"])["reference"]["id"]
    until((disk / "depot.sqlite3.ballast").exists, depot.logs)
    return depot, model_id


def _ready(depot: Depot) -> httpx2.Response:
    return httpx2.get(depot.address("/readyz"))


def _fill(file: Path) -> None:
    """Until not a byte more fits."""
    with file.open("wb", buffering=0) as filler:
        for size in (MIB, 4096, 1):
            try:
                while filler.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
