"""What waits for what: deletes and small models never for large downloads, and large ones for no stream of small ones."""

import os
import signal
import time
from typing import Any

import pytest

from tests.conftest import StartDepot
from tests.depot import Depot
from tests.fakehub.hub import Hub, Synthetic
from tests.faults.watching import children, writers
from tests.processes import family, until

MIB = 1 << 20
SLOW = 1 << 16
"""Bytes a second of a download that lasts."""
POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_small_models_and_deletes_end_while_all_slots_are_taken_by_large_downloads(
    start_depot: StartDepot, hub: Hub
) -> None:
    hub.add("acme/tiny", {"config.json": b"{}"})
    hub.add("acme/small", {"config.json": b"{}", "model.safetensors": Synthetic(MIB)})
    depot = start_depot(small=MIB + 2, poll_interval=60)
    ready = depot.create("acme/small")
    assert depot.wait(ready["id"])["state"] == "success", depot.logs()
    large = _large(depot, hub, 6)
    arriving = [operation["reference"]["id"] for operation in large[:4]]
    until(lambda: set(writers(depot.storage)) == set(arriving), depot.logs)
    # Of those that wait for a slot the size is known, and nothing counts as an attempt that failed.
    waiting = [operation["reference"]["id"] for operation in large[4:]]
    until(lambda: all(depot.model(model_id)["total"] == 8 * MIB for model_id in waiting), depot.logs)
    assert {depot.model(model_id)["status"] for model_id in waiting} == {"creating"}

    begun = time.monotonic()
    tiny = depot.create("acme/tiny")
    assert depot.wait(tiny["id"])["state"] == "success", depot.logs()
    print(f"a small model beside four large downloads: {time.monotonic() - begun:.2f} s")
    for model_id in (ready["reference"]["id"], arriving[0], waiting[1]):
        begun = time.monotonic()
        deletion = depot.client.delete(f"/ai/model/{model_id}").json()
        assert depot.wait(deletion["id"])["state"] == "success", depot.logs()
        print(f"a delete beside four large downloads: {time.monotonic() - begun:.2f} s")
        assert not depot.storage.joinpath("incoming", model_id).exists()
    # The slot that became free is for the one that has waited longest.
    until(lambda: set(writers(depot.storage)) == {*arriving[1:], waiting[0]}, depot.logs)
    assert "attempts failed" not in depot.logs()


@POSTGRESQL
def test_a_delete_ends_in_front_of_hundreds_of_queued_small_models(start_depot: StartDepot, hub: Hub) -> None:
    depot = start_depot()
    hub.add("acme/ready", {"config.json": b"{}"})
    ready = depot.create("acme/ready")
    assert depot.wait(ready["id"])["state"] == "success", depot.logs()
    for number in range(326):
        hub.add(f"acme/tiny-{number}", {"config.json": b"%d" % number})
        last = depot.create(f"acme/tiny-{number}")
    begun = time.monotonic()
    queued = depot.client.delete(f"/ai/model/{last['reference']['id']}").json()
    assert queued["state"] == "success"
    assert depot.client.get(f"/ai/model/{last['reference']['id']}").status_code == 404
    ended = depot.client.get(f"/operation/{last['id']}").json()
    assert (ended["state"], ended["reason"]) == ("failure", "interrupted")
    deletion = depot.client.delete(f"/ai/model/{ready['reference']['id']}").json()
    assert depot.wait(deletion["id"])["state"] == "success", depot.logs()
    print(f"two deletes, with {_pending(depot)} creates pending: {time.monotonic() - begun:.2f} s")
    assert _pending(depot) > 0


@SQLITE
def test_a_large_model_is_not_kept_waiting_by_small_ones_that_came_later(start_depot: StartDepot, hub: Hub) -> None:
    hub.add("acme/large", {"model.safetensors": Synthetic(2 * MIB)})
    for number in range(8):
        hub.add(f"acme/tiny-{number}", {"config.json": b"{}"})
    depot = start_depot(workers=0, slots=1, small_slots=0, small=MIB)
    operations = [depot.create(f"acme/{name}") for name in ("tiny-0", "large", *(f"tiny-{n}" for n in range(1, 8)))]
    depot.start_worker()
    for operation in operations:
        assert depot.wait(operation["id"])["state"] == "success", depot.logs()
    asked = [request.repo for request in hub.requests if request.place == "file"]
    assert asked.index("acme/large") < asked.index("acme/tiny-1")


@POSTGRESQL
def test_what_a_paused_worker_holds_waits_for_it_and_does_not_fail(start_depot: StartDepot, hub: Hub) -> None:
    """Paused with its children, as by `docker pause`: the files stay locked."""
    depot = start_depot(attempts=2)
    (operation,) = _large(depot, hub, 1)
    model_id = operation["reference"]["id"]
    until(lambda: model_id in writers(depot.storage), depot.logs)
    paused = family(depot.workers[0].pid)
    assert children(depot.workers[0].pid)
    try:
        for pid in paused:
            os.kill(pid, signal.SIGSTOP)
        depot.start_worker()
        log = depot.folder / "2-worker.log"
        until(lambda: log.read_text().count("operation waits") > 2, depot.logs, 30)
        waiting = depot.client.get(f"/operation/{operation['id']}").json()
        assert waiting["state"] == "pending"
        assert "still stopping" in waiting["message"]
        # A delete waits for them, too.
        deletion = depot.client.delete(f"/ai/model/{model_id}").json()
        waits = log.read_text().count("operation waits")
        until(lambda: log.read_text().count("operation waits") > waits + 2, depot.logs, 30)
        assert depot.client.get(f"/operation/{deletion['id']}").json()["state"] == "pending"
    finally:
        for pid in paused:
            os.kill(pid, signal.SIGCONT)
    assert depot.wait(deletion["id"])["state"] == "success", depot.logs()


@POSTGRESQL
def test_a_worker_that_is_started_again_goes_on_at_once(start_depot: StartDepot, hub: Hub) -> None:
    depot = start_depot(lease=600)
    (operation,) = _large(depot, hub, 1)
    model_id = operation["reference"]["id"]
    until(lambda: model_id in writers(depot.storage), depot.logs)
    before = writers(depot.storage)[model_id]
    depot.workers[0].kill()
    depot.workers[0].wait()
    begun = time.monotonic()
    depot.start_worker()
    until(lambda: writers(depot.storage).get(model_id, set()) - before, depot.logs)
    print(f"started again, it went on after {time.monotonic() - begun:.2f} s (lease 600 s)")


def _large(depot: Depot, hub: Hub, count: int) -> list[dict[str, Any]]:
    """Creates of models that take for ever."""
    hub.rate = SLOW
    for number in range(count):
        hub.add(f"acme/large-{number}", {"model.safetensors": Synthetic(8 * MIB, number)})
    return [depot.create(f"acme/large-{number}") for number in range(count)]


def _pending(depot: Depot) -> int:
    return sum(model["status"] == "creating" for model in depot.client.get("/ai/model").json()["models"])
