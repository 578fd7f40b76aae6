"""A rolling deploy: the version before the newest migration works beside this one, on the database of this one."""

from pathlib import Path

import pytest

from tests.conftest import StartDepot
from tests.depot import Depot
from tests.fakehub.hub import Hub
from tests.processes import BUSY, until
from tests.sources import ROOT, version_before

_MODELS = 6


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_old_and_new_processes_carry_out_each_others_operations(
    start_depot: StartDepot, hub: Hub, tmp_path: Path
) -> None:
    newest = max((ROOT / "alembic" / "versions").glob("*.py")).relative_to(ROOT)
    old = version_before(str(newest), tmp_path / "old")
    for number in range(2 * _MODELS):
        hub.add(f"acme/model-{number}", {"config.json": b"{}"})
    depot = start_depot(workers=1, slots=1)
    depot.sources = old
    depot.start_worker()
    until(lambda: depot.logs().count("worker is ready") == 2, depot.logs)
    _fetch_and_delete(depot, range(_MODELS))

    assert depot.api is not None
    depot.api.terminate()
    assert depot.api.wait(10 + BUSY) == 0
    depot.start_api()
    _fetch_and_delete(depot, range(_MODELS, 2 * _MODELS))
    depot.workers[1].kill()  # how the old version stops is not this one's business
    assert "Traceback" not in depot.logs()
    for worker in ("1-worker", "2-worker"):
        done = depot.folder.joinpath(f"{worker}.log").read_text()
        assert "model is ready" in done, f"{worker} had no part in it"


def _fetch_and_delete(depot: Depot, numbers: range) -> None:
    operations = [depot.create(f"acme/model-{number}") for number in numbers]
    for operation in operations:
        assert depot.wait(operation["id"])["state"] == "success", depot.logs()
    paths = [f"/ai/model/{operation['reference']['id']}" for operation in operations]
    for deletion in [depot.client.delete(path).json() for path in paths]:
        assert depot.wait(deletion["id"])["state"] == "success", depot.logs()
