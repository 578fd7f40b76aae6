"""A depot whose models are in a bucket is stopped at one certain request after another, and the request arrives late."""

import asyncio
import hashlib
import os
import re
import signal
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import pytest

from app.db.session import open_database
from tests.buckets import Place
from tests.conftest import StartDepot
from tests.depot import Depot
from tests.fakehub.hub import Hub, Synthetic
from tests.faults.bucketed import keys
from tests.faults.storefront import Operation, Storefront, Trouble
from tests.faults.watching import family
from tests.processes import BUSY, alive, until
from worker.maintenance import orphans

SCHEMES = ["http"]
SIZE = (9 << 20) + 1
"""Two parts."""
POINTS: Mapping[str, tuple[Operation, str]] = {
    "adopt": ("put", "{id}/attempt.json"),
    "begin": ("begin", "{file}"),
    "record": ("put", "{record}"),
    "part": ("part", "{file}"),
    "complete": ("complete", "{file}"),
    "forget": ("delete", "{record}"),
    "last": ("put", "{id}/config.json"),
    "publish": ("put", "depot/{id}.json"),
}
"""What a model's request is and how its key ends, by the name of the model."""
WHOLE = ("forget", "last", "publish")
"""Points at which the large file is there."""
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
        ("versitygw", "sqlite", KILLED, "published"),
        ("versitygw", "postgresql", PAUSED, "published"),
        # On SQLite a worker that is paused while it writes keeps all others from writing.
        ("juicefs_gateway", "postgresql", PAUSED, "made anew"),
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
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    depot = start_depot(workers=0, slots=len(POINTS), connections=2, **_settings(place, front))
    created = {name: _create(depot, hub, name) for name in POINTS}
    front.misbehave(*(_trouble(name, created[name], "hold") for name in POINTS))
    worker = depot.start_worker()
    until(lambda: len(front.held) == len(POINTS), lambda: f"{front.held}\n{depot.logs()}", 60 + BUSY)
    machine = family(worker.pid)
    for pid in machine:
        os.kill(pid, fate)
    depot.start_worker()
    for name, operation in created.items():
        assert depot.wait(operation["id"], 120 + BUSY)["state"] == "success", (name, depot.logs())
    assert [name for name in WHOLE if hub.bytes_sent(f"{name}.safetensors") != SIZE] == []
    models = {name: operation["reference"]["id"] for name, operation in created.items()}
    if meanwhile == "made anew":
        models = {name: _made_anew(depot, name, model_id) for name, model_id in models.items()}

    front.let_go()
    for pid in machine if fate is PAUSED else []:
        os.kill(pid, signal.SIGCONT)
    until(lambda: front.is_idle, depot.logs, 60 + BUSY)
    if fate is PAUSED:
        log = depot.folder / "1-worker.log"
        until(lambda: len(re.findall("lease (is|was) lost", log.read_text())) >= len(POINTS), depot.logs, 60 + BUSY)
        worker.terminate()
    until(lambda: not any(map(alive, machine)), depot.logs, 60 + BUSY)

    _are_ready(depot, place, models)
    monkeypatch.setattr(orphans, "_FEW", len(POINTS))
    asyncio.run(_tidy(database_url, place))
    _are_ready(depot, place, models)
    _nothing_else_is_left(place, set(models.values()))
    assert "Traceback" not in depot.logs()


def _settings(place: Place, front: Storefront) -> dict[str, object]:
    options = place.server.options
    reached = {"s3_endpoint": front.endpoint, "s3_access_key": options.access_key, "s3_secret_key": options.secret_key}
    return {"storage": place.location, "lease": 6, **reached}


def _create(depot: Depot, hub: Hub, name: str) -> dict[str, Any]:
    hub.add(f"acme/{name}", _files(name))
    return depot.create(f"acme/{name}")


def _files(name: str) -> dict[str, Any]:
    number = sorted([*POINTS, "gone"]).index(name)
    return {f"{name}.safetensors": Synthetic(SIZE, number), "config.json": name.encode(), f"{name}.txt": b"words"}


def _trouble(name: str, operation: Mapping[str, Any], kind: Any, **more: Any) -> Trouble:
    """At the model's point."""
    what, end = POINTS[name]
    file = f"{name}.safetensors"
    record = f"{hashlib.sha256(file.encode()).hexdigest()[:32]}.json"
    key = end.format(id=operation["reference"]["id"], file=file, record=record)
    return Trouble(what, kind, key=key, **more)


def _made_anew(depot: Depot, name: str, model_id: str) -> str:
    gone = depot.client.delete(f"/ai/model/{model_id}").json()
    assert depot.wait(gone["id"], 60 + BUSY)["state"] == "success", depot.logs()
    operation = depot.create(f"acme/{name}")
    assert depot.wait(operation["id"], 60 + BUSY)["state"] == "success", depot.logs()
    anew: str = operation["reference"]["id"]
    return anew


def _are_ready(depot: Depot, place: Place, models: Mapping[str, str]) -> None:
    store = place.open()
    for name, model_id in models.items():
        model = depot.model(model_id)
        assert model["status"] == "ready", model
        for path, content in _files(name).items():
            with store.open(UUID(model_id), path).reader() as file:
                found = file.read()
            assert found == (content.read() if isinstance(content, Synthetic) else content), (name, path)


async def _tidy(database_url: str, place: Place) -> None:
    """As often as a leftover takes on its way through the trash."""
    database, store = open_database(database_url), place.open(keep=0)
    for _ in range(2):
        await orphans.tidy(database, store, every=0)
    await database.close()


def _nothing_else_is_left(place: Place, model_ids: set[str]) -> None:
    there = {key for key in keys(place) if not key.startswith("depot/try/")} - {"depot/mark"}
    assert {key for key in there if not any(model_id in key for model_id in model_ids)} == set()
    assert {key for key in there if key.startswith(("depot/arriving/", "depot/trash/"))} == set()
    assert len(there) == 4 * len(model_ids), there
    for key, upload, *_ in place.objects.uploads(f"{place.prefix}/models/"):
        assert place.objects.parts(key, upload) == {}, "what is not recorded has no bytes"
