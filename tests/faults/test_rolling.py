"""A rolling deploy: the version before the newest migration works beside this one, on the database of this one."""

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.conftest import StartDepot
from tests.depot import Depot
from tests.hub import Hub
from tests.processes import BUSY, until

_ROOT = Path(__file__).parents[2]
_MODELS = 6


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_old_and_new_processes_carry_out_each_others_operations(
    start_depot: StartDepot, hub: Hub, tmp_path: Path
) -> None:
    old = _version_before_the_newest_migration(tmp_path / "old")
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


def _version_before_the_newest_migration(folder: Path) -> Path:
    """Its sources."""
    newest = max((_ROOT / "alembic" / "versions").glob("*.py")).relative_to(_ROOT)
    try:
        added = _git("log", "--diff-filter=A", "--format=%H", "-1", "--", str(newest)).decode().strip()
        archive = _git("archive", f"{added}^", "app", "worker", "alembic")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("the history of the sources is not here: no version before the newest migration to run")
    with tarfile.open(fileobj=io.BytesIO(archive)) as sources:
        sources.extractall(folder, filter="data")
    told = subprocess.run(
        [sys.executable, "-c", "import app, worker; print(app.__file__, worker.__file__)"],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    assert told.stdout.count(str(folder)) == 2, "what starts there is this version"
    return folder


def _git(*words: str) -> bytes:
    return subprocess.run(["git", "-C", str(_ROOT), *words], check=True, capture_output=True).stdout
