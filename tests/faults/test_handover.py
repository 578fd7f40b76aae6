"""Workers, Redis and the database go away and come back, and every operation goes on where it was."""

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.conftest import StartDepot
from tests.depot import Depot
from tests.fakehub.hub import Hub, Synthetic
from tests.faults.watching import children, writers
from tests.processes import BUSY, alive, until
from tests.servers import PostgreSQL, Redis

SIZE = 40 << 20
LEASE, LOOK = 3.0, 0.5
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_a_worker_asked_to_stop_hands_over_at_once_and_another_goes_on_from_the_bytes(
    start_depot: StartDepot, hub: Hub
) -> None:
    depot = start_depot(attempts=1, connections=1)
    operation = _mid_file(depot, hub)
    model_id = operation["reference"]["id"]
    # With one attempt allowed, a hand-over that counted would end it. Two of them show it.
    for _ in range(2):
        until(lambda: model_id in writers(depot.storage), depot.logs)
        worker = depot.workers[-1]
        busy = children(worker.pid)
        asked = time.monotonic()
        worker.terminate()
        assert worker.wait(10 + BUSY) == 0
        print(f"asked to stop, gone after {time.monotonic() - asked:.2f} s")
        assert not any(alive(pid) for pid in busy)
        depot.start_worker()
    until(lambda: model_id in writers(depot.storage), depot.logs)
    _goes_on(depot, hub, operation["id"])


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_what_a_worker_hands_over_is_taken_up_by_an_idle_one_at_once_and_not_at_its_next_look(
    start_depot: StartDepot, hub: Hub
) -> None:
    depot = start_depot(slots=1, connections=1, poll_interval=600)
    operation = _mid_file(depot, hub)
    model_id = operation["reference"]["id"]
    depot.start_worker()
    until(lambda: "worker is ready" in depot.folder.joinpath("2-worker.log").read_text(), depot.logs)
    busy, asked = writers(depot.storage)[model_id], time.monotonic()
    depot.workers[0].terminate()
    until(lambda: writers(depot.storage).get(model_id, set()) - busy, depot.logs)
    print(f"asked to stop, taken up after {time.monotonic() - asked:.2f} s")
    _goes_on(depot, hub, operation["id"])


@SQLITE
def test_a_worker_asked_to_stop_while_somebody_has_the_database_locked_is_gone_within_ten_seconds(
    start_depot: StartDepot, hub: Hub, database_url: str
) -> None:
    depot = start_depot(connections=1)
    operation = _mid_file(depot, hub)
    busy = children(depot.workers[0].pid)
    with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        depot.workers[0].terminate()
        depot.workers[0].wait(10 + BUSY)
        assert not any(alive(pid) for pid in busy)
        other.execute("ROLLBACK")
    depot.start_worker()
    _goes_on(depot, hub, operation["id"])


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_the_work_of_a_killed_worker_is_taken_up_within_its_lease_and_a_look(start_depot: StartDepot, hub: Hub) -> None:
    depot = start_depot(slots=1, connections=1)
    operation = _mid_file(depot, hub)
    model_id = operation["reference"]["id"]
    busy = children(depot.workers[0].pid)
    depot.start_worker()
    until(lambda: "worker is ready" in depot.folder.joinpath("2-worker.log").read_text(), depot.logs)
    killed = time.monotonic()
    depot.workers[0].kill()
    depot.workers[0].wait()
    until(lambda: not any(alive(pid) for pid in busy), depot.logs, BUSY)
    until(lambda: writers(depot.storage).get(model_id), depot.logs)
    took = time.monotonic() - killed
    print(f"killed, taken up after {took:.2f} s (lease {LEASE} s, look {LOOK} s)")
    # Beside lease and look, what it takes a child to ask the Hub what there is.
    assert took < LEASE + LOOK + BUSY
    _goes_on(depot, hub, operation["id"])


# On SQLite a worker that is paused while it writes keeps all others from writing.
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_the_child_of_a_paused_worker_ends_itself_and_the_worker_writes_nothing_when_it_wakes(
    start_depot: StartDepot, hub: Hub
) -> None:
    depot = start_depot(slots=1, connections=1)
    operation = _mid_file(depot, hub)
    model_id = operation["reference"]["id"]
    paused, (first,) = depot.workers[0], _writers(depot, model_id)
    paused.send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    depot.start_worker()
    until(lambda: not alive(first), depot.logs, LEASE + BUSY)
    print(f"paused, its child gone after {time.monotonic() - stopped:.2f} s (lease {LEASE} s)")
    assert first not in _writers(depot, model_id, within=LEASE + BUSY)
    before = depot.model(model_id)
    paused.send_signal(signal.SIGCONT)
    log = depot.folder / "1-worker.log"
    until(lambda: "lease is lost" in log.read_text() or "lease was lost" in log.read_text(), depot.logs)
    after = depot.model(model_id)
    assert after["status"] == "downloading"
    assert after["downloaded"] >= before["downloaded"]
    _goes_on(depot, hub, operation["id"])


@SQLITE
def test_a_child_that_is_killed_is_replaced(start_depot: StartDepot, hub: Hub) -> None:
    depot = start_depot(connections=1)
    operation = _mid_file(depot, hub)
    for pid in children(depot.workers[0].pid):
        os.kill(pid, signal.SIGKILL)
    _goes_on(depot, hub, operation["id"])


@SQLITE
def test_without_redis_everything_works_and_the_bell_rings_again_once_it_is_back(
    start_depot: StartDepot, hub: Hub
) -> None:
    hub.add("acme/tiny", {"config.json": b"{}"})
    hub.add("acme/small", {"config.json": b"{}"})
    with Redis() as redis:
        depot = start_depot(redis_url=redis.url, poll_interval=5)
        redis.server.stop()
        asked = time.monotonic()
        operation = depot.create("acme/tiny")
        assert time.monotonic() - asked < 9, "a socket's own patience is ten seconds"
        assert depot.wait(operation["id"])["state"] == "success", depot.logs()
        redis.server.start()
        # A look comes every five seconds; a ring much sooner. At first the API may still be silent.
        deadline = time.monotonic() + 60
        quickest = 99.0
        while quickest > 1.5 and time.monotonic() < deadline:
            hub.forget()
            asked = time.monotonic()
            operation = depot.create("acme/small")
            assert hub.wait(lambda: bool(hub.requests))
            quickest = min(quickest, hub.requests[0].started - asked)
            assert depot.wait(operation["id"])["state"] == "success", depot.logs()
            gone = depot.client.delete(f"/ai/model/{operation['reference']['id']}").json()
            assert depot.wait(gone["id"])["state"] == "success", depot.logs()
        print(f"create to the first request to the Hub, with Redis back: {quickest:.3f} s")
        assert quickest <= 1.5


@pytest.fixture
def own_postgresql() -> Iterator[PostgreSQL]:
    """A server that the test may stop."""
    with PostgreSQL() as server:
        yield server


@SQLITE
def test_while_the_database_is_away_the_api_says_so_and_work_goes_on_once_it_is_back(
    start_depot: StartDepot, hub: Hub, own_postgresql: PostgreSQL
) -> None:
    depot = start_depot(database_url=own_postgresql.migrated(), connections=1)
    operation = _mid_file(depot, hub)
    own_postgresql.stop()
    for _ in range(3):
        answer = depot.client.get(f"/operation/{operation['id']}")
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["retry-after"]) > 0
        assert "Traceback" not in answer.text
    refused = depot.client.post("/ai/model", json={"name": "acme/tiny"})
    assert refused.status_code == 503
    until(lambda: writers(depot.storage) == {}, depot.logs, LEASE + 5)
    own_postgresql.start()
    until(lambda: depot.client.get("/ai/model").status_code == 200, depot.logs)
    assert len(depot.client.get("/ai/model").json()["models"]) == 1
    _goes_on(depot, hub, operation["id"])
    assert depot.workers[0].poll() is None
    assert depot.api is not None
    assert depot.api.poll() is None


def _mid_file(depot: Depot, hub: Hub) -> dict[str, Any]:
    """A create of which the first step, 8 MiB, is there to stay, and the rest arrives slowly."""
    hub.add("acme/large", {"config.json": b"{}", "model.safetensors": Synthetic(SIZE)})
    hub.total_rate = 8 << 20
    operation = depot.create("acme/large")
    model_id = operation["reference"]["id"]
    until(lambda: (depot.model(model_id).get("downloaded") or 0) > (9 << 20), depot.logs)
    hub.total_rate = 1 << 18
    return operation


def _writers(depot: Depot, model_id: str, within: float = 10) -> set[int]:
    """The processes that are seen to hold the model's files open, once there are any."""
    found: set[int] = set()

    def look() -> bool:
        found.update(writers(depot.storage).get(model_id, ()))
        return bool(found)

    until(look, depot.logs, within)
    return found


def _goes_on(depot: Depot, hub: Hub, operation_id: str) -> None:
    """The operation succeeds with what is still missing, and every byte is right."""
    hub.total_rate = None
    ended = depot.wait(operation_id)
    assert ended["state"] == "success", (ended, depot.logs())
    # What one attempt kept no other fetched again.
    ranges = [request.range for request in hub.requests if request.place == "file" and request.range]
    assert sum(stretch.startswith("bytes=0-") for stretch in ranges) == 1
    path = depot.storage / "by-name" / "acme" / "large" / "model.safetensors"
    assert path.read_bytes() == Synthetic(SIZE).read()
    assert list((depot.storage / "incoming").iterdir()) == []
