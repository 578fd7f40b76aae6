"""A worker tells how it is: alive, ready or short of something, and in figures what it has done."""

import shutil
import socket
import subprocess
import sys
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.probe import FOLDER
from tests.conftest import StartDepot
from tests.depot import Depot
from tests.fakehub.hub import Fault, Hub, Synthetic
from tests.processes import BUSY, free_port, until

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
SIZE = 12 << 20
Figures = dict[tuple[str, tuple[str, ...]], float]


@SQLITE
def test_the_figures_tell_what_a_worker_does(start_depot: StartDepot, hub: Hub) -> None:
    hub.add("acme/large", {"config.json": b"{}", "model.safetensors": Synthetic(SIZE)})
    hub.misbehave(Fault("status", on="any", repo="acme/large"))
    hub.total_rate = 4 << 20
    depot = _depot(start_depot, slots=3)
    before = _figures(depot)
    assert before["modeldepot_slots", ("free",)] == 3
    assert before["modeldepot_retries_total", ("unavailable",)] == 0
    assert before["modeldepot_lease_losses_total", ()] == 0
    assert before["modeldepot_storage_free_bytes", ()] > 0
    assert any(name == "modeldepot_build_info" and "worker" in labels for name, labels in before)

    fetching = depot.create("acme/large")
    wrong = depot.create("acme/large", include=["*.gguf"])
    assert depot.wait(wrong["id"])["reason"] == "incorrect"
    until(lambda: _figures(depot)["modeldepot_downloaded_bytes_total", ()] > 0, depot.logs)
    during = _figures(depot)
    assert during["modeldepot_active_downloads", ()] == 1
    assert during["modeldepot_slots", ("used",)] + during["modeldepot_slots", ("free",)] == 3
    hub.total_rate = None
    assert depot.wait(fetching["id"])["state"] == "success", depot.logs()

    until(lambda: _figures(depot)["modeldepot_slots", ("free",)] == 3, depot.logs)
    after = _figures(depot)
    assert after["modeldepot_active_downloads", ()] == 0
    assert after["modeldepot_downloaded_bytes_total", ()] == SIZE + 2
    assert after["modeldepot_retries_total", ("unavailable",)] == 1
    for outcome in ("success", "failure", "again"):
        assert after["modeldepot_attempt_seconds_count", ("create-model", outcome)] == 1
    assert after["modeldepot_attempt_seconds_sum", ("create-model", "success")] > 0.5


@SQLITE
def test_a_worker_names_what_it_lacks_and_is_ready_again_once_that_is_back(start_depot: StartDepot) -> None:
    depot = _depot(start_depot)
    assert _ask(depot, "healthz").json() == {"status": "ok"}
    checks = {name: {"ok": True} for name in ("database", "redis", "storage", "migrations", "housekeeping")}
    answer = _ask(depot, "readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "checks": checks})
    shutil.move(depot.storage, depot.folder / "elsewhere")
    answer = _ask(depot, "readyz")
    assert answer.status_code == 503
    assert "DEPOT_STORAGE" in answer.json()["checks"]["storage"]["message"]
    shutil.move(depot.folder / "elsewhere", depot.storage)
    assert _ask(depot, "readyz").status_code == 200


@SQLITE
def test_whoever_speaks_nonsense_or_nothing_to_it_holds_nobody_up(start_depot: StartDepot) -> None:
    depot = _depot(start_depot)
    port = _port(depot)
    with socket.create_connection(("127.0.0.1", port)) as silent, socket.create_connection(("127.0.0.1", port)) as one:
        one.sendall(b"\x00\xff\r\n\r\n")
        assert one.recv(100) == b""
        assert httpx2.post(f"http://127.0.0.1:{port}/metrics").status_code == 405
        assert _ask(depot, "else").status_code == 404
        with pytest.raises(httpx2.TransportError):
            _ask(depot, "x" * 20_000)
        assert _ask(depot, "healthz").status_code == 200
        depot.workers[0].terminate()
        assert depot.workers[0].wait(10 + BUSY) == 0
        silent.close()
    assert "Traceback" not in depot.logs()


@SQLITE
def test_a_port_that_is_taken_stops_the_start_with_one_line(start_depot: StartDepot) -> None:
    depot = start_depot(api=False, workers=0)
    # As a worker leaves it that is killed: the next one that starts removes it, and logs that.
    left = depot.folder / "tmp" / f"{FOLDER}left"
    left.mkdir(parents=True)
    (left / "worker.lock").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environment = depot.environment | {"DEPOT_METRICS_PORT": str(port), "TMPDIR": str(left.parent)}
        words = [sys.executable, "-m", "worker.main"]
        refused = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=20)
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert f"127.0.0.1:{port}" in line
    assert "DEPOT_METRICS_PORT" in line
    assert left.exists()


def _depot(start_depot: StartDepot, **settings: Any) -> Depot:
    """With one worker, which answers."""
    depot = start_depot(metrics_port=free_port(), **settings)
    until(lambda: "worker is ready" in depot.logs(), depot.logs)
    return depot


def _port(depot: Depot) -> int:
    return int(depot.environment["DEPOT_METRICS_PORT"])


def _ask(depot: Depot, name: str) -> httpx2.Response:
    return httpx2.get(f"http://127.0.0.1:{_port(depot)}/{name}", timeout=10)


def _figures(depot: Depot) -> Figures:
    answer = _ask(depot, "metrics")
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.text)
    return {(sample.name, tuple(sample.labels.values())): sample.value for each in families for sample in each.samples}
