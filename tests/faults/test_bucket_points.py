"""A depot whose models are in a bucket is stopped at one certain request after another, and the request arrives late."""

import asyncio
import re
import signal
from collections.abc import Iterator

import pytest

from tests.buckets import Place
from tests.conftest import StartDepot
from tests.fakehub.hub import Hub
from tests.faults.at_points import (
    POINTS,
    SIZE,
    WHOLE,
    are_ready,
    create,
    made_anew,
    nothing_else_is_left,
    settings_behind,
    tidied,
    trouble,
)
from tests.faults.chaos import send_all
from tests.faults.storefront import Storefront
from tests.processes import BUSY, alive, family, until

SCHEMES = ["http"]
KILLED, PAUSED = signal.SIGKILL, signal.SIGSTOP


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    place: Place = request.getfixturevalue(request.param).place()
    return place


@pytest.fixture
def front(place: Place) -> Iterator[Storefront]:
    with Storefront(place.server.port) as front:
        yield front


@pytest.mark.parametrize(
    ("place", "database_url", "fate", "meanwhile"),
    [
        ("juicefs_gateway", "sqlite", KILLED, "made anew"),
        # On SQLite a worker that is paused while it writes keeps all others from writing.
        ("versitygw", "postgresql", PAUSED, "published"),
    ],
    indirect=["place", "database_url"],
)
def test_what_arrives_after_its_worker_was_replaced_harms_nothing(
    start_depot: StartDepot,
    hub: Hub,
    place: Place,
    front: Storefront,
    fate: signal.Signals,
    meanwhile: str,
    database_url: str,
) -> None:
    depot = start_depot(workers=0, slots=len(POINTS), connections=2, **settings_behind(front, place))
    created = {name: create(depot, hub, name) for name in POINTS}
    front.misbehave(*(trouble(name, created[name], "hold") for name in POINTS))
    worker = depot.start_worker()
    until(lambda: len(front.held) == len(POINTS), lambda: f"{front.held}\n{depot.logs()}", 60 + BUSY)
    machine = family(worker.pid)
    send_all(machine, fate)
    depot.start_worker()
    for name, operation in created.items():
        assert depot.wait(operation["id"], 120 + BUSY)["state"] == "success", (name, depot.logs())
    assert [name for name in WHOLE if hub.bytes_sent(f"{name}.safetensors") != SIZE] == []
    models = {name: operation["reference"]["id"] for name, operation in created.items()}
    if meanwhile == "made anew":
        models = {name: made_anew(depot, name, model_id) for name, model_id in models.items()}

    front.let_go()
    send_all(machine if fate is PAUSED else [], signal.SIGCONT)
    until(lambda: front.is_idle, depot.logs, 60 + BUSY)
    if fate is PAUSED:
        log = depot.folder / "1-worker.log"
        until(lambda: len(re.findall("lease (is|was) lost", log.read_text())) >= len(POINTS), depot.logs, 60 + BUSY)
        worker.terminate()
    until(lambda: not any(map(alive, machine)), depot.logs, 60 + BUSY)

    are_ready(depot, place, models)
    asyncio.run(tidied(database_url, place))
    are_ready(depot, place, models)
    nothing_else_is_left(place, set(models.values()))
    assert "Traceback" not in depot.logs()
