"""Whether the API says how it is: alive, ready, degraded, or short of something that it needs."""

import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.depot.status import listen
from tests.conftest import StartDepot
from tests.depot import Depot
from tests.processes import free_port, until
from tests.servers import PostgreSQL, Redis

OK = {"ok": True}


def test_all_is_well(start_depot: StartDepot) -> None:
    depot = start_depot(workers=0)
    answer = _ask(depot, "readyz")
    checks = dict.fromkeys(("database", "redis", "storage", "migrations", "housekeeping"), OK)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "checks": checks})


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_without_redis_it_is_degraded_and_ready_all_the_same(start_depot: StartDepot, own_redis: Redis) -> None:
    depot = start_depot(workers=0, redis_url=own_redis.url)
    assert _ask(depot, "readyz").json()["status"] == "ok"
    own_redis.server.stop()
    answer = _ask(depot, "readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert _failed(answer) == {"redis"}
    assert "DEPOT_REDIS_URL" in answer.json()["checks"]["redis"]["message"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_without_its_storage_it_is_not_ready_until_that_is_back(start_depot: StartDepot) -> None:
    depot = start_depot(workers=0)
    shutil.rmtree(depot.storage)
    answer = _ask(depot, "readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
    assert _failed(answer) == {"storage"}
    assert "DEPOT_STORAGE" in answer.json()["checks"]["storage"]["message"]
    depot.storage.mkdir()
    assert _ask(depot, "readyz").status_code == 200


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_its_port_for_monitoring_takes_no_key_and_knows_no_other_route(start_depot: StartDepot) -> None:
    depot = start_depot(workers=0, metrics_port=free_port())
    assert httpx2.get(depot.address("/metrics")).status_code == 401
    figures = _watch(depot, "metrics").text
    assert 'modeldepot_build_info{process="api"' in figures
    assert 'modeldepot_failed_operations{reason="fault",state="failure"} 0.0' in figures
    assert _watch(depot, "healthz").json() == {"status": "ok"}
    assert _watch(depot, "readyz").json() == _ask(depot, "readyz").json()
    assert _watch(depot, "v2/ai/model").status_code == 404


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("host", "says"), [("127.0.0.1", "in use"), ("203.0.113.0/24", "no address in that network")])
def test_a_port_for_monitoring_that_it_cannot_have_stops_the_start_with_one_line(
    start_depot: StartDepot, host: str, says: str
) -> None:
    depot = start_depot(workers=0, api=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = ["--metrics-host", host, "--metrics-port", str(taken.getsockname()[1])]
        refused = subprocess.run(
            [sys.executable, "-m", "app.cli", "serve", *words],
            env=depot.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert says in line
    assert "DEPOT_METRICS_PORT or DEPOT_METRICS_HOST" in line


def test_what_listens_in_a_network_is_this_machines_address_in_it() -> None:
    listener = listen("127.0.0.0/8", free_port())
    assert listener is not None
    with listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_without_its_database_it_is_alive_and_not_ready(redis_url: str, tmp_path: Path) -> None:
    with PostgreSQL() as server:
        depot = Depot(
            tmp_path,
            database_url=server.migrated(),
            redis_url=redis_url,
            hub_endpoint="http://127.0.0.1:9",
            workers=0,
            metrics_port=free_port(),
        )
        try:
            assert _ask(depot, "readyz").status_code == 200
            assert 'modeldepot_check_ok{check="database"} 1.0' in _ask(depot, "metrics").text
            server.stop()
            answer = _ask(depot, "readyz")
            assert answer.status_code == 503
            assert _failed(answer) == {"database", "migrations"}
            assert _ask(depot, "healthz").status_code == 200
            figures = _watch(depot, "metrics").text
            assert 'modeldepot_check_ok{check="database"} 0.0' in figures
            assert 'modeldepot_check_ok{check="storage"} 1.0' in figures
            assert "modeldepot_operations_due NaN" in figures
            assert "modeldepot_operations{" not in figures
            server.start()
            until(lambda: _ask(depot, "readyz").status_code == 200, depot.logs)
            assert 'modeldepot_check_ok{check="database"} 1.0' in _watch(depot, "metrics").text
        finally:
            depot.close()


def _ask(depot: Depot, name: str) -> httpx2.Response:
    return depot.client.get(f"http://127.0.0.1:{depot.port}/{name}")


def _watch(depot: Depot, name: str) -> httpx2.Response:
    """Asked at the port for monitoring, without a key."""
    return httpx2.get(f"http://127.0.0.1:{depot.api_metrics_port}/{name}", timeout=10)


def _failed(answer: httpx2.Response) -> set[str]:
    checks: dict[str, Any] = answer.json()["checks"]
    return {name for name, check in checks.items() if not check["ok"]}
