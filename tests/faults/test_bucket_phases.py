"""A depot whose object store fails at one request after another of a model's life: its reason is told, and work goes on."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.buckets import Place, Server
from tests.conftest import StartDepot
from tests.depot import Depot
from tests.fakehub.hub import Hub
from tests.faults.at_points import (
    POINTS,
    SIZE,
    WHOLE,
    are_ready,
    create,
    nothing_else_is_left,
    settings_behind,
    trouble,
)
from tests.faults.storefront import Storefront, Trouble
from tests.processes import BUSY, until

SCHEMES = ["http"]
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def place(versitygw: Server) -> Place:
    return versitygw.place()


@pytest.fixture
def front(place: Place) -> Iterator[Storefront]:
    with Storefront(place.server.port) as front:
        yield front


def test_what_the_store_does_not_do_now_is_waited_for_at_every_request(
    start_depot: StartDepot, hub: Hub, place: Place, front: Storefront
) -> None:
    depot = start_depot(slots=len(POINTS), attempts=3, **settings_behind(front, place))
    operations = _in_trouble(depot, hub, front, status=503, code="SlowDown")
    until(lambda: all(_waits(depot, operation) for operation in operations.values()), depot.logs, 120 + BUSY)
    front.behave()
    for name, operation in operations.items():
        assert depot.wait(operation["id"], 60 + BUSY)["state"] == "success", (name, depot.logs())
    assert [name for name in WHOLE if hub.bytes_sent(f"{name}.safetensors") != SIZE] == []
    _is_in_order(depot, place, operations)


def test_what_the_store_refuses_is_told_at_every_request_and_a_later_create_completes(
    start_depot: StartDepot, hub: Hub, place: Place, front: Storefront
) -> None:
    """As with credentials that expire at that moment."""
    depot = start_depot(slots=len(POINTS), keep_partial=False, **settings_behind(front, place))
    # What arrived can't be removed either.
    front.misbehave(Trouble("abort", "status", within="models/", status=403, code="ExpiredToken", times=None))
    operations = _in_trouble(depot, hub, front, status=403, code="ExpiredToken")
    for name, operation in operations.items():
        ended = depot.wait(operation["id"], 60 + BUSY)
        assert (ended["state"], ended["reason"]) == ("failure", "fault"), (name, ended, depot.logs())
        assert "DEPOT_S3_ACCESS_KEY" in ended["message"], (name, ended)
    front.behave()
    for name, operation in operations.items():
        if name == "gone":
            operations[name] = depot.client.delete(f"/ai/model/{operation['reference']['id']}").json()
        else:
            operations[name] = depot.create(f"acme/{name}")
        assert depot.wait(operations[name]["id"], 60 + BUSY)["state"] == "success", (name, depot.logs())
    _is_in_order(depot, place, operations)


def test_a_store_that_is_away_for_long_counts_as_no_attempt(
    start_depot: StartDepot, hub: Hub, place: Place, front: Storefront
) -> None:
    front.is_down = True
    depot = start_depot(attempts=1, **settings_behind(front, place))
    operation = create(depot, hub, "begin")
    until(lambda: _waits(depot, operation), depot.logs, 60 + BUSY)
    front.is_down = False
    assert depot.wait(operation["id"], 60 + BUSY)["state"] == "success", depot.logs()


def test_a_model_that_is_deleted_while_it_arrives_leaves_nothing(
    start_depot: StartDepot, hub: Hub, place: Place, front: Storefront
) -> None:
    hub.total_rate = 2 << 20
    depot = start_depot(**settings_behind(front, place))
    model_id = create(depot, hub, "part")["reference"]["id"]
    until(lambda: 1 in front.sent(), depot.logs)
    gone = depot.client.delete(f"/ai/model/{model_id}").json()
    assert depot.wait(gone["id"], 60 + BUSY)["state"] == "success", depot.logs()
    nothing_else_is_left(place, set())


def _in_trouble(depot: Depot, hub: Hub, front: Storefront, **answer: Any) -> dict[str, dict[str, Any]]:
    """The operations on a model for each point, and on one more that is deleted, each with its trouble."""
    model_id = create(depot, hub, "gone")["reference"]["id"]
    until(lambda: depot.model(model_id)["status"] == "ready", depot.logs, 60 + BUSY)
    depot.workers[0].terminate()
    depot.workers[0].wait(10 + BUSY)
    operations = {name: create(depot, hub, name) for name in POINTS}
    front.misbehave(
        *(trouble(name, operation, "status", times=None, **answer) for name, operation in operations.items())
    )
    front.misbehave(Trouble("delete", "status", key=f"depot/{model_id}.json", times=None, **answer))
    operations["gone"] = depot.client.delete(f"/ai/model/{model_id}").json()
    depot.start_worker()
    return operations


def _waits(depot: Depot, operation: dict[str, Any]) -> bool:
    told = depot.client.get(f"/operation/{operation['id']}").json()
    assert told["state"] == "pending", (told, depot.logs())
    return "object store" in (told.get("message") or "")


def _is_in_order(depot: Depot, place: Place, operations: dict[str, dict[str, Any]]) -> None:
    models = {name: operation["reference"]["id"] for name, operation in operations.items() if name != "gone"}
    are_ready(depot, place, models)
    nothing_else_is_left(place, set(models.values()))
    assert "Traceback" not in depot.logs()
