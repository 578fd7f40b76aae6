"""A depot on a bucket, looked after: its readiness and figures, `modeldepot storage …`, a repair, the quota."""

import json
import os
from typing import Any

import httpx2
import pytest

from tests.buckets import Place, Server
from tests.cli.test_storage_commands import ready, storage_command
from tests.conftest import StartDepot
from tests.depot import KEY, SECRET, Depot
from tests.fakehub.hub import Hub
from tests.processes import BUSY, free_port
from tests.published import settings_for

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
MIB = 1 << 20
FILES = {
    "config.json": b'{"architectures": ["LlamaForCausalLM"]}',
    "a.safetensors": os.urandom(9 * MIB),
    "b.safetensors": os.urandom(1000),
}
SIZE = sum(map(len, FILES.values()))


@pytest.fixture
def place(versitygw: Server) -> Place:
    return versitygw.place()


@SQLITE
def test_a_depot_on_a_bucket_is_looked_after(start_depot: StartDepot, hub: Hub, place: Place) -> None:
    hub.add("acme/tiny", FILES)
    hub.add("acme/twin", FILES)
    depot = start_depot(metrics_port=free_port(), quota=2 * SIZE + 1000, **settings_for(place))
    model = ready(depot, "acme/tiny")
    _is_told(depot)
    _is_shown(depot, model)
    _is_verified_and_repaired(depot, hub, place, model)
    usage = json.loads(storage_command(depot, "usage", "--json").stdout)
    assert usage["models"] == [
        {"id": model["id"], "name": "acme/tiny", "status": "ready", "own": SIZE, "shared": 0, "arriving": 0}
    ]
    assert (usage["total"], usage["free"]) == (SIZE, None)
    assert storage_command(depot, "check").stdout.startswith("ok")
    _is_bounded(depot, hub)
    assert place.server.options.secret_key not in depot.logs()


def _is_told(depot: Depot) -> None:
    """By /readyz and the metrics."""
    told = httpx2.get(depot.address("/readyz"), timeout=30).json()
    assert told["checks"]["storage"] == {"ok": True}
    for port in (depot.api_metrics_port, int(depot.environment["DEPOT_METRICS_PORT"])):
        figures = httpx2.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
        assert 'modeldepot_object_store_seconds_count{operation="GetObject",status="200"}' in figures
        assert "modeldepot_storage_free_bytes NaN" in figures


def _is_shown(depot: Depot, model: dict[str, Any]) -> None:
    """By the console: lines for engines that read the bucket themselves, and a page without a disk."""
    with httpx2.Client(base_url=depot.address(""), timeout=60) as browser:
        assert browser.post("/console/sign-in", data={"key": f"{KEY}:{SECRET}"}).status_code == 303
        shown = browser.get(f"/console/models/{model['id']}").text
        assert f"vllm serve {model['path']} --load-format runai_streamer" in shown
        assert f"AWS_ENDPOINT_URL={depot.environment['DEPOT_S3_ENDPOINT']}" in shown
        storage = browser.get("/console/storage").text
    assert "In a bucket each model has its own copy" in storage
    assert "The quota" in storage
    assert "The disk" not in storage


def _is_verified_and_repaired(depot: Depot, hub: Hub, place: Place, model: dict[str, Any]) -> None:
    assert storage_command(depot, "verify").stdout.startswith("ok")
    key = f"{place.prefix}/models/acme/tiny/{model['id']}/b.safetensors"
    place.objects.put(key, bytes(1000))
    found = storage_command(depot, "verify", "acme/tiny")
    assert (found.returncode, "b.safetensors differs from its checksum" in found.stdout) == (1, True), found.stdout
    hub.forget()
    repair = storage_command(depot, "verify", "--repair", model["id"]).stdout.split()[-1]
    assert depot.wait(repair, 60 + BUSY)["state"] == "success", depot.logs()
    assert hub.bytes_sent() == 1000
    assert place.objects.get(key) == FILES["b.safetensors"]
    whole = storage_command(depot, "verify", "--deep")
    assert (whole.returncode, whole.stdout.startswith("ok")) == (0, True), whole.stdout


def _is_bounded(depot: Depot, hub: Hub) -> None:
    """The quota: a copy takes room again, and what does not fit fails at once, with what to do."""
    twin = ready(depot, "acme/twin")
    hub.add("acme/more", {"more.bin": b"more" * 1000})
    refused = depot.wait(depot.create("acme/more")["id"], 60 + BUSY)
    assert (refused["state"], refused["reason"]) == ("failure", "fault"), refused
    assert "4.0 kB are needed and 1.0 kB are left" in refused["message"]
    assert "DEPOT_QUOTA" in refused["message"]
    depot.wait(depot.client.delete(f"/ai/model/{twin['id']}").json()["id"], 60 + BUSY)
    assert depot.wait(depot.create("acme/more")["id"], 60 + BUSY)["state"] == "success"


@SQLITE
def test_a_quota_bounds_a_folder_in_which_shared_contents_count_once(start_depot: StartDepot, hub: Hub) -> None:
    for name in ("acme/tiny", "acme/twin"):
        hub.add(name, FILES)
    hub.add("acme/more", {"more.bin": b"more" * 1000})
    depot = start_depot(quota=SIZE + 2000)
    ready(depot, "acme/tiny")
    ready(depot, "acme/twin")
    space = depot.client.post("/ai/model/plan", json={"name": "acme/more"}).json()["space"]
    assert (space["quota-left"], space["lacking"], space["fits"]) == (2000, 2000, False)
    refused = depot.wait(depot.create("acme/more")["id"], 60 + BUSY)
    assert (refused["state"], refused["reason"]) == ("failure", "fault"), refused
    assert "DEPOT_QUOTA" in refused["message"]
