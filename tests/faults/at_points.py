"""Models of a depot in a bucket, each with a request at which something is to happen."""

import hashlib
from collections.abc import Mapping
from typing import Any
from unittest.mock import patch
from uuid import UUID

from app.db.session import open_database
from tests.buckets import Place
from tests.depot import Depot
from tests.fakehub.hub import Hub, Synthetic
from tests.faults.bucketed import keys
from tests.faults.storefront import Operation, Storefront, Trouble
from tests.processes import BUSY
from tests.published import settings_for
from worker.maintenance import orphans

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


def settings_behind(front: Storefront, place: Place) -> dict[str, Any]:
    """Those of a depot whose storage is there, behind that proxy."""
    return settings_for(place) | {"s3_endpoint": front.endpoint, "lease": 6}


def create(depot: Depot, hub: Hub, name: str) -> dict[str, Any]:
    hub.add(f"acme/{name}", _files(name))
    return depot.create(f"acme/{name}")


def _files(name: str) -> dict[str, Any]:
    number = sorted([*POINTS, "gone"]).index(name)
    return {f"{name}.safetensors": Synthetic(SIZE, number), "config.json": name.encode(), f"{name}.txt": b"words"}


def trouble(name: str, operation: Mapping[str, Any], kind: Any, **more: Any) -> Trouble:
    """At the model's point."""
    what, end = POINTS[name]
    file = f"{name}.safetensors"
    record = f"{hashlib.sha256(file.encode()).hexdigest()[:32]}.json"
    key = end.format(id=operation["reference"]["id"], file=file, record=record)
    return Trouble(what, kind, key=key, **more)


def made_anew(depot: Depot, name: str, model_id: str) -> str:
    gone = depot.client.delete(f"/ai/model/{model_id}").json()
    assert depot.wait(gone["id"], 60 + BUSY)["state"] == "success", depot.logs()
    operation = depot.create(f"acme/{name}")
    assert depot.wait(operation["id"], 60 + BUSY)["state"] == "success", depot.logs()
    anew: str = operation["reference"]["id"]
    return anew


def are_ready(depot: Depot, place: Place, models: Mapping[str, str]) -> None:
    store = place.open()
    for name, model_id in models.items():
        model = depot.model(model_id)
        assert model["status"] == "ready", model
        for path, content in _files(name).items():
            with store.open(UUID(model_id), path).reader() as file:
                found = file.read()
            assert found == (content.read() if isinstance(content, Synthetic) else content), (name, path)


async def tidied(database_url: str, place: Place) -> None:
    """As a worker does, as often as a leftover takes on its way through the trash, and however many there are."""
    database, store = open_database(database_url, patience=BUSY), place.open(keep=0)
    with patch.object(orphans, "_FEW", 1000):
        for _ in range(2):
            await orphans.tidy(database, store, every=0)
    await database.close()


def nothing_else_is_left(place: Place, model_ids: set[str]) -> None:
    there = {key for key in keys(place) if not key.startswith("depot/try/")} - {"depot/mark"}
    assert {key for key in there if not any(model_id in key for model_id in model_ids)} == set()
    assert {key for key in there if key.startswith(("depot/arriving/", "depot/trash/"))} == set()
    assert len(there) == 4 * len(model_ids), there
    for key, upload, *_ in place.objects.uploads(f"{place.prefix}/models/"):
        assert place.objects.parts(key, upload) == {}, "what is not recorded has no bytes"
