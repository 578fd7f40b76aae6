"""A depot on a bucket whose database is put back to what it was: what the bucket holds is used, and nothing is fetched."""

import shutil
import signal
from pathlib import Path

import pytest

from app.db.migrate import upgrade
from tests.buckets import Place, Server
from tests.cli.test_storage_commands import storage_command
from tests.conftest import StartDepot
from tests.depot import Depot
from tests.fakehub.hub import Hub
from tests.faults.at_points import SIZE, are_ready, create, nothing_else_is_left, settings_behind
from tests.faults.bucketed import keys
from tests.faults.chaos import send_all
from tests.faults.storefront import Storefront, Trouble
from tests.processes import BUSY, family, until

SCHEMES = ["http"]


@pytest.fixture
def place(versitygw: Server) -> Place:
    return versitygw.place()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_database_from_before_a_publish_or_a_create_costs_no_byte(
    start_depot: StartDepot, hub: Hub, place: Place, database_url: str, tmp_path: Path
) -> None:
    with Storefront(place.server.port) as front:
        depot = start_depot(attempts=2, **settings_behind(front, place))
        file, copy = Path(database_url.removeprefix("sqlite:///")), tmp_path / "copy"
        # Nothing is published, whatever is there.
        front.misbehave(Trouble("put", "status", key="/config.json", times=None))
        operation = create(depot, hub, "publish")
        model_id = operation["reference"]["id"]
        until(lambda: keys(place, end="/publish.safetensors"), depot.logs)
        _stop(depot)
        _copy(file, copy)
        # Later attempts than the copy knows of, and than it may count.
        for _ in range(2):
            worker, count = depot.start_worker(), depot.logs().count("download begins")
            until(lambda count=count: depot.logs().count("download begins") > count, depot.logs)  # type: ignore[misc]
            worker.terminate()
            worker.wait(15 + BUSY)
        _copy(copy, file)
        front.behave()
        depot.start_api()
        depot.start_worker()
        assert depot.wait(operation["id"], 90 + BUSY)["state"] == "success", depot.logs()
        _stop(depot)
        _copy(copy, file)
        depot.start_api()
        assert depot.model(model_id)["status"] != "ready"
        depot.start_worker()
        assert depot.wait(operation["id"], 60 + BUSY)["state"] == "success", depot.logs()
        _stop(depot)
        for path in file.parent.glob(f"{file.name}*"):
            path.unlink()
        upgrade(database_url)
        depot.start_api()
        adopted = storage_command(depot, "adopt", "--all")
        assert f"adopted   {model_id}" in adopted.stdout, adopted
        depot.start_worker()
        are_ready(depot, place, {"publish": model_id})
        assert hub.bytes_sent("publish.safetensors") == SIZE
        nothing_else_is_left(place, {model_id})


def _stop(depot: Depot) -> None:
    assert depot.api is not None
    _kill(depot)
    depot.api.terminate()
    depot.api.wait(15 + BUSY)


def _kill(depot: Depot) -> None:
    """A worker's machine."""
    worker = depot.workers.pop()
    send_all(family(worker.pid), signal.SIGKILL)
    worker.wait()


def _copy(source: Path, target: Path) -> None:
    """A database that nobody has open, with its journal."""
    for path in target.parent.glob(f"{target.name}*"):
        path.unlink()
    for path in source.parent.glob(f"{source.name}*"):
        shutil.copy(path, target.parent / path.name.replace(source.name, target.name))
