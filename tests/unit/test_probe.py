"""The image's health check, as the process that it is."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.probe import FOLDER, Pulse
from tests.conftest import StartDepot
from tests.processes import BUSY, until


def _probe(folder: Path, port: int = 1) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"TMPDIR": str(folder), "DEPOT_PORT": str(port)}
    return subprocess.run(
        [sys.executable, "-m", "app.probe"], env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """What is a container's /tmp."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


def _beat(temporary: Path, name: str, interval: float) -> None:
    folder = temporary / f"{FOLDER}{name}"
    folder.mkdir()
    Pulse(folder, interval).beat()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_api_and_a_worker_are_well_once_they_run(start_depot: StartDepot, temporary: Path) -> None:
    depot = start_depot(workers=0, api=False)
    depot.environment["TMPDIR"] = str(temporary)
    refused = _probe(temporary, depot.port)
    assert refused.returncode == 1
    assert f"the API at port {depot.port} doesn't answer" in refused.stderr
    depot.start_api()
    assert _probe(temporary, depot.port).returncode == 0
    depot.start_worker()
    until(lambda: _probe(temporary).returncode == 0, depot.logs)


def test_a_worker_that_has_not_looked_for_work_for_too_long_is_not_well(temporary: Path) -> None:
    _beat(temporary, "worker", interval=-20)
    probe = _probe(temporary)
    assert probe.returncode == 1
    late = re.search(r"the worker should have looked for work (\d+) s ago", probe.stderr)
    assert late, probe.stderr
    assert 10 <= int(late[1]) <= 10 + BUSY


def test_the_sign_of_a_crashed_worker_says_nothing_of_the_one_that_took_its_place(temporary: Path) -> None:
    _beat(temporary, "crashed", interval=-20)
    _beat(temporary, "worker", interval=5)
    assert _probe(temporary).returncode == 0


def test_a_full_temporary_folder_does_not_stop_a_worker(temporary: Path) -> None:
    Pulse(temporary / "gone", interval=5).beat()
    assert list(temporary.iterdir()) == []
