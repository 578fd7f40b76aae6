"""A storage that is not there: an empty folder stands in its place, as where a mount failed."""

from pathlib import Path

import httpx2
import pytest

from tests.cli.test_storage_commands import ready
from tests.conftest import StartDepot
from tests.depot import Depot
from tests.fakehub.hub import Hub
from tests.processes import until

_AWAY = "is not the storage of this depot"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_in_its_place_nothing_is_written_deleted_or_served_until_it_is_back(start_depot: StartDepot, hub: Hub) -> None:
    for name in ("acme/served", "acme/deleted", "acme/late"):
        hub.add(name, {"config.json": b"{}"})
    depot = start_depot(attempts=100, backoff=0.1)
    served, deleted = ready(depot, "acme/served"), ready(depot, "acme/deleted")
    real = depot.storage.rename(depot.folder / "real")
    before = _everything(real)
    depot.storage.mkdir()

    answer = _readyz(depot)
    assert answer.status_code == 503
    assert _AWAY in answer.json()["checks"]["storage"]["message"]
    refused = depot.client.post("/ai/deployment", json={"name": "engine", "model": {"id": served["id"]}})
    assert refused.status_code == 412
    assert _AWAY in refused.json()["error"]
    operations = [depot.create("acme/late"), depot.client.delete(f"/ai/model/{deleted['id']}").json()]
    for operation in operations:
        until(lambda operation=operation: _AWAY in _message(depot, operation["id"]), depot.logs)  # type: ignore[misc]
    depot.start_worker()
    until(lambda: '"the storage is not there"' in depot.logs(), depot.logs)
    assert list(depot.storage.iterdir()) == []
    assert _everything(real) == before
    assert depot.model(served["id"])["status"] == "ready"

    depot.storage.rmdir()
    real.rename(depot.storage)
    for operation in operations:
        assert depot.wait(operation["id"])["state"] == "success"
    assert _readyz(depot).status_code == 200
    accepted = depot.client.post("/ai/deployment", json={"name": "engine", "model": {"id": served["id"]}})
    assert accepted.status_code == 200


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_model_whose_folder_is_gone_takes_no_deployment(start_depot: StartDepot, hub: Hub) -> None:
    hub.add("acme/tiny", {"config.json": b"{}"})
    depot = start_depot()
    model = ready(depot, "acme/tiny")
    (depot.storage / "models" / model["id"]).rename(depot.folder / "aside")
    refused = depot.client.post("/ai/deployment", json={"name": "engine", "model": {"name": "acme/tiny"}})
    assert refused.status_code == 412
    assert "has no folder on the storage" in refused.json()["error"]
    assert depot.client.get("/ai/deployment").json() == {"deployments": []}


def _readyz(depot: Depot) -> httpx2.Response:
    return httpx2.get(f"http://127.0.0.1:{depot.port}/readyz")


def _message(depot: Depot, operation_id: str) -> str:
    return depot.client.get(f"/operation/{operation_id}").json().get("message") or ""


def _everything(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*")}
