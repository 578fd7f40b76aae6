"""A download that is paused: it stops at once, keeps its bytes and its place, and holds nobody up."""

import json
import time
from typing import Any
from uuid import UUID

import pytest

from app.db.session import Database
from app.services import history
from app.services.queue import PAUSED
from tests import by_hand
from tests.conftest import StartDepot
from tests.depot import Depot
from tests.fakehub.hub import Hub, Synthetic
from tests.faults.watching import children
from tests.processes import BUSY, until
from tests.worker.test_lifecycle import left
from tests.worker.test_sharing import SHARED, SIZE, SLOW, add, begin, succeed, waiting

MIB = 1 << 20
LARGE = 24 * MIB


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_paused_download_frees_its_slot_keeps_its_bytes_and_goes_on_after_restarts(
    start_depot: StartDepot, hub: Hub
) -> None:
    hub.add("acme/large", {"model.safetensors": Synthetic(LARGE)})
    hub.add("acme/other", {"config.json": b"{}"})
    hub.total_rate = 8 * MIB
    # One attempt only: a pause that counted as a failed one would end the operation.
    depot = start_depot(slots=1, small_slots=0, connections=1, attempts=1)
    operation = depot.create("acme/large")
    model_id = operation["reference"]["id"]
    # Bytes are kept in steps of 8 MiB.
    until(lambda: (depot.model(model_id)["downloaded"] or 0) > 9 * MIB, depot.logs)
    busy = children(depot.workers[0].pid)
    asked = time.monotonic()
    assert _patch(depot, model_id, paused=True)["paused"] is True
    until(lambda: not set(busy) & set(children(depot.workers[0].pid)), depot.logs)
    took = time.monotonic() - asked
    assert took < 2 + BUSY, took
    print(f"a pause took {took:.2f} s")
    assert depot.wait(depot.create("acme/other")["id"])["state"] == "success", depot.logs()
    _restart(depot)
    _is_paused(depot, operation)
    assert _first_event(depot, model_id)["paused"] is True
    hub.total_rate = None
    sent = hub.bytes_sent("model.safetensors")
    model = _patch(depot, model_id, paused=False, priority=4)
    assert (model["paused"], model["priority"], model["status"]) == (False, 4, "downloading")
    assert depot.wait(operation["id"])["state"] == "success", depot.logs()
    assert hub.bytes_sent("model.safetensors") - sent <= LARGE - 8 * MIB
    assert depot.model(model_id)["paused"] is False
    assert _retries(depot, model_id) == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_paused_download_holds_nobody_up_who_waits_for_what_it_fetched(start_depot: StartDepot, hub: Hub) -> None:
    add(hub, "acme/first", "acme/second")
    hub.total_rate = SLOW
    depot = start_depot(slots=2)
    first = begin(depot, hub, "acme/first")
    second = depot.create("acme/second")
    until(lambda: waiting(depot, second), depot.logs)
    _patch(depot, first["reference"]["id"], paused=True)
    until(lambda: PAUSED in depot.logs(), depot.logs)  # its process has ended
    hub.total_rate = None
    (folder,) = succeed(depot, [second])
    assert (folder / SHARED).read_bytes() == Synthetic(SIZE).read()
    _is_paused(depot, first)
    # Deleted, it leaves nothing but the other one.
    deletion = depot.client.delete(f"/ai/model/{first['reference']['id']}").json()
    succeed(depot, [deletion])
    assert depot.client.get(f"/operation/{first['id']}").json()["reason"] == "interrupted"
    assert not [name for name in left(depot.storage) if first["reference"]["id"] in name]


def _patch(depot: Depot, model_id: str, **changes: Any) -> dict[str, Any]:
    answer = depot.client.patch(f"/ai/model/{model_id}", json=changes)
    assert answer.status_code == 200, answer.text
    model: dict[str, Any] = answer.json()
    return model


def _retries(depot: Depot, model_id: str) -> int:
    """As the console and the command show them."""

    async def ask(database: Database) -> int:
        async with database.read() as connection:
            (fetched,) = await history.of(connection, UUID(model_id), limit=2)
        return fetched.retries

    retries: int = by_hand.run(depot.environment["DEPOT_DATABASE_URL"], ask)
    return retries


def _restart(depot: Depot) -> None:
    """Stop all its processes and start them again, until a worker has polled."""
    assert depot.api is not None
    for process in (depot.api, *depot.workers):
        process.terminate()
        process.wait(30)
    depot.start_api()
    before = depot.logs().count("worker is ready")
    depot.start_worker()
    until(lambda: depot.logs().count("worker is ready") > before, depot.logs)


def _is_paused(depot: Depot, operation: dict[str, Any]) -> None:
    model = depot.model(operation["reference"]["id"])
    assert (model["status"], model["paused"], model["rate"]) == ("downloading", True, None)
    assert model["downloaded"] > 0
    now = depot.client.get(f"/operation/{operation['id']}").json()
    assert now["state"] == "pending"
    assert "paused" in now["message"]
    assert "reason" not in now


def _first_event(depot: Depot, model_id: str) -> dict[str, Any]:
    with depot.client.stream("GET", f"/ai/model/{model_id}/events") as answer:
        line = next(line for line in answer.iter_lines() if line.startswith("data:"))
    model: dict[str, Any] = json.loads(line.removeprefix("data:"))
    return model
