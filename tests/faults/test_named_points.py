"""A worker, or the API, is killed at one certain point after another; each is reached from outside."""

import asyncio
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import asyncpg
import httpx2
import pytest

from app.storage.layout import FOLDERS
from tests.conftest import StartDepot
from tests.depot import CREDENTIALS, Depot
from tests.fakehub.exchange import Place
from tests.fakehub.hub import Fault, Hub, Synthetic
from tests.faults.watching import writers
from tests.processes import BUSY, until
from tests.servers import Redis

SIZE = 12 << 20
pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def test_killed_between_the_commit_and_the_doorbell(start_depot: StartDepot, hub: Hub) -> None:
    _add(hub)
    with Redis() as redis:
        depot = start_depot(redis_url=redis.url, workers=0)
        assert depot.client.get("/ai/model").json() == {"models": []}
        pid, api = redis.server.pid, depot.api
        assert pid is not None
        assert api is not None
        os.kill(pid, signal.SIGSTOP)
        # It rings, in vain, once it has committed.
        with ThreadPoolExecutor() as pool:
            asking = pool.submit(
                httpx2.post, depot.address("/v2/ai/model"), json={"name": "acme/large"}, headers=CREDENTIALS
            )
            until(lambda: depot.client.get("/ai/model").json()["models"], depot.logs)
            api.kill()
            api.wait()
            asking.exception()
        os.kill(pid, signal.SIGCONT)
        depot.start_api()
        depot.start_worker()
        (model,) = depot.client.get("/ai/model").json()["models"]
        until(lambda: depot.model(model["id"])["status"] == "ready", depot.logs)


@pytest.mark.parametrize(
    ("place", "after"),
    [("auth", None), ("tree", None), ("file", None), ("file", 5 << 20)],
    ids=["after the claim", "while resolving", "after resolve", "mid-file"],
)
def test_killed_on_the_way(start_depot: StartDepot, hub: Hub, place: Place, after: int | None) -> None:
    _add(hub)
    hub.misbehave(Fault("stall", on=place, after_bytes=after))
    depot = start_depot(connections=1, stall_window=60)
    operation = depot.create("acme/large")
    assert hub.wait(lambda: any(request.fault == "stall" for request in hub.requests))
    _kill(depot)
    depot.start_worker()
    _is_ready(depot, operation)


def test_killed_after_the_last_file(start_depot: StartDepot, hub: Hub) -> None:
    _add(hub)
    hub.misbehave(Fault("stall", path="model.safetensors", after_bytes=1 << 20, seconds=1))
    depot = start_depot(connections=1, stall_window=60)
    operation = depot.create("acme/large")
    model_id = operation["reference"]["id"]
    until(lambda: model_id in writers(depot.storage), depot.logs)
    # Its child goes on for as long as the lease lasts, and nobody hears that it is done.
    depot.workers[0].send_signal(signal.SIGSTOP)
    until(lambda: list(depot.storage.glob(f"verified/{model_id}.*/model.safetensors")), depot.logs)
    assert not (depot.storage / "models" / model_id).exists()
    _kill(depot)
    sent = hub.bytes_sent("model.safetensors")
    depot.start_worker()
    _is_ready(depot, operation)
    assert hub.bytes_sent("model.safetensors") == sent


def test_killed_between_the_rename_and_the_commit(start_depot: StartDepot, hub: Hub, database_url: str) -> None:
    _add(hub)
    hub.misbehave(Fault("stall", path="model.safetensors", after_bytes=1 << 20, seconds=1))
    depot = start_depot(connections=1, stall_window=60, lease=9)
    operation = depot.create("acme/large")
    model_id = operation["reference"]["id"]
    until(lambda: depot.model(model_id)["status"] == "downloading", depot.logs)
    with _locked(database_url):
        until((depot.storage / "models" / model_id).is_dir, depot.logs)
        _kill(depot)
    assert depot.model(model_id)["status"] == "downloading"
    sent = hub.bytes_sent()
    depot.start_worker()
    _is_ready(depot, operation)
    assert hub.bytes_sent() == sent


def test_killed_in_the_middle_of_a_delete(start_depot: StartDepot, hub: Hub, database_url: str) -> None:
    _add(hub)
    depot = start_depot()
    model_id = depot.create("acme/large")["reference"]["id"]
    until(lambda: depot.model(model_id)["status"] == "ready", depot.logs)
    depot.workers[0].terminate()
    assert depot.workers[0].wait(10 + BUSY) == 0
    deletion = depot.client.delete(f"/ai/model/{model_id}").json()
    with _locked(database_url):
        depot.start_worker()
        until(lambda: not (depot.storage / "models" / model_id).exists(), depot.logs)
        _kill(depot)
    assert depot.client.get(f"/ai/model/{model_id}").status_code == 200
    depot.start_worker()
    assert depot.wait(deletion["id"])["state"] == "success", depot.logs()
    assert depot.client.get(f"/ai/model/{model_id}").status_code == 404
    assert {path.name for path in depot.storage.rglob("*")} == {*FOLDERS, "mark"}


def _add(hub: Hub) -> None:
    hub.add("acme/large", {"config.json": b"{}", "model.safetensors": Synthetic(SIZE)})


def _kill(depot: Depot) -> None:
    depot.workers[-1].kill()
    depot.workers[-1].wait()


def _is_ready(depot: Depot, operation: dict[str, Any]) -> None:
    assert depot.wait(operation["id"])["state"] == "success", depot.logs()
    model = depot.model(operation["reference"]["id"])
    assert model["status"] == "ready"
    path = depot.storage / "by-name" / "acme" / "large" / "model.safetensors"
    assert path.read_bytes() == Synthetic(SIZE).read()
    assert list((depot.storage / "incoming").iterdir()) == []


@contextmanager
def _locked(database_url: str) -> Iterator[None]:
    """Hold the rows of all models: who writes one waits until the block ends."""
    loop = asyncio.new_event_loop()
    try:
        connection = loop.run_until_complete(asyncpg.connect(database_url))
        transaction = connection.transaction()
        loop.run_until_complete(transaction.start())
        loop.run_until_complete(connection.execute("SELECT 1 FROM models FOR UPDATE"))
        try:
            yield
        finally:
            loop.run_until_complete(transaction.rollback())
            loop.run_until_complete(connection.close())
    finally:
        loop.close()
