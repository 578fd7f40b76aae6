"""The way back: after an upgrade, this version starts again on the database that the newer one has migrated."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.db.revisions import revisions
from tests.conftest import StartDepot
from tests.depot import Depot
from tests.fakehub.hub import Hub
from tests.processes import BUSY

_ROOT = Path(__file__).parents[2]
_NEWER = "9999"
_MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "{newer}", "{head}"
branch_labels = depends_on = None


def upgrade():
    op.add_column("models", sa.Column("novelty", sa.Text(), nullable=True))
    op.create_index("ix_models_novelty", "models", ["novelty"])
    {more}
"""
_DECLARES = f"op.execute(\"UPDATE compatibility SET oldest = '{_NEWER}'\")"


@pytest.fixture
def depot(start_depot: StartDepot) -> Depot:
    """Nothing of it runs yet."""
    return start_depot(api=False, workers=0)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_the_version_before_a_migration_starts_again_and_goes_on_with_what_the_newer_one_did(
    depot: Depot, hub: Hub, tmp_path: Path
) -> None:
    for name in ("acme/before", "acme/after"):
        hub.add(name, {"config.json": b"{}"})
    depot.sources = _newer_version(tmp_path / "newer", more="")
    assert f"the database is at revision {_NEWER}\n" in _migrate(depot).stdout
    api, worker = depot.start_api(), depot.start_worker()
    before = depot.create("acme/before")
    assert depot.wait(before["id"])["state"] == "success"
    for process in (api, worker):
        process.terminate()
        assert process.wait(10 + BUSY) == 0

    depot.sources = None
    told = _migrate(depot)
    assert told.returncode == 0, told.stderr
    assert f"revision {_NEWER}, newer than this version's {revisions().head}" in told.stdout
    assert "nothing to do" in told.stdout
    depot.start_api()
    depot.start_worker()
    ready = depot.client.get(depot.address("/readyz"))
    assert (ready.status_code, ready.json()["status"]) == (200, "ok"), ready.text
    assert depot.wait(depot.create("acme/after")["id"])["state"] == "success", depot.logs()
    deletion = depot.client.delete(f"/ai/model/{before['reference']['id']}").json()
    assert depot.wait(deletion["id"])["state"] == "success", depot.logs()
    assert "Traceback" not in depot.logs()


def test_a_version_that_does_not_work_with_the_newer_database_says_so_and_what_to_do(
    depot: Depot, tmp_path: Path
) -> None:
    depot.sources = _newer_version(tmp_path / "newer", more=_DECLARES)
    assert _migrate(depot).returncode == 0
    depot.sources = None
    told = _migrate(depot)
    assert told.returncode == 1
    (line,) = told.stderr.splitlines()
    assert f"versions from revision {_NEWER} on do" in line
    depot.start_api()
    checks = depot.client.get(depot.address("/readyz")).json()["checks"]
    assert _NEWER in checks["migrations"]["message"]


def _newer_version(folder: Path, *, more: str) -> Path:
    """The sources of this version with one migration more."""
    for part in ("app", "worker", "alembic"):
        shutil.copytree(_ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    migration = _MIGRATION.format(newer=_NEWER, head=revisions().head, more=more)
    (folder / "alembic" / "versions" / f"{_NEWER}_newer.py").write_text(migration)
    return folder


def _migrate(depot: Depot) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-m", "app.cli", "migrate"]
    return subprocess.run(
        words, cwd=depot.sources, env=depot.environment, capture_output=True, text=True, check=False, timeout=60
    )
