"""A whole depot whose models are in a bucket."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.buckets import Place, Server
from tests.conftest import StartDepot
from tests.depot import Depot
from tests.fakehub.hub import Hub, Repo, Synthetic
from tests.faults.bucketed import arriving, keys
from tests.faults.conftest import contents
from tests.faults.storefront import Storefront
from tests.faults.watching import forked
from tests.processes import BUSY, family, said, until

MIB = 1 << 20
SIZE = 96 * MIB
MODEL = "model.safetensors"


@pytest.fixture
def bucket(versitygw: Server) -> Place:
    """Of one server: what differs between servers is tried without the rest of a depot."""
    return versitygw.place()


@pytest.fixture
def front(bucket: Place) -> Iterator[Storefront]:
    with Storefront(bucket.server.port) as front:
        yield front


@pytest.fixture
def repo(hub: Hub) -> Repo:
    return hub.add("acme/model", {MODEL: Synthetic(SIZE, 5), "config.json": b"{}", "words.txt": b"word\n" * 1000})


@pytest.fixture
def depot(start_depot: StartDepot, bucket: Place, front: Storefront) -> Depot:
    options = bucket.server.options
    return start_depot(
        storage=bucket.location,
        s3_endpoint=front.endpoint,
        s3_access_key=options.access_key,
        s3_secret_key=options.secret_key,
    )


def _downloaded(depot: Depot, model_id: str) -> int:
    return int(depot.model(model_id).get("downloaded") or 0)


def _stored(place: Place, path: str) -> dict[str, bytes]:
    """What engines find below a model's path."""
    start = f"{path.removeprefix(place.location)}/".lstrip("/")
    return {key.removeprefix(start): place.objects.get(f"{place.prefix}/{key}") for key in keys(place, start)}


def test_a_model_is_fetched_into_the_bucket_and_deleted_from_it(repo: Repo, depot: Depot, bucket: Place) -> None:
    operation = depot.create(repo.name)
    assert depot.wait(operation["id"], 60 + BUSY)["state"] == "success", depot.logs()
    model = depot.model(operation["reference"]["id"])
    assert model["status"] == "ready"
    assert model["path"].startswith(bucket.location)
    assert _stored(bucket, model["path"]) == contents(repo)
    assert arriving(bucket) == []
    deleted = depot.client.delete(f"/ai/model/{model['id']}").json()
    assert depot.wait(deleted["id"], 60 + BUSY)["state"] == "success", depot.logs()
    assert keys(bucket, within=model["id"]) == []


def test_another_worker_goes_on_where_a_killed_one_was(hub: Hub, repo: Repo, depot: Depot, bucket: Place) -> None:
    hub.total_rate = 20 * MIB
    operation = depot.create(repo.name)
    model_id = operation["reference"]["id"]
    until(lambda: _downloaded(depot, model_id) > SIZE // 2, depot.logs)
    depot.workers[0].send_signal(signal.SIGKILL)
    hub.total_rate = None
    depot.start_worker()
    assert depot.wait(operation["id"], 60 + BUSY)["state"] == "success", depot.logs()
    assert 0 <= hub.bytes_sent(MODEL) - SIZE <= 64 * MIB
    assert _stored(bucket, depot.model(model_id)["path"]) == contents(repo)


def test_a_store_that_is_away_is_waited_for_without_counting(
    hub: Hub, repo: Repo, depot: Depot, bucket: Place, front: Storefront
) -> None:
    hub.total_rate = 20 * MIB
    operation = depot.create(repo.name)
    model_id = operation["reference"]["id"]
    until(lambda: _downloaded(depot, model_id) > SIZE // 2, depot.logs)
    front.is_down = True

    def waits() -> bool:
        told = depot.client.get(f"/operation/{operation['id']}").json()
        assert told["state"] == "pending", told
        return "object store" in (told.get("message") or "")

    until(waits, depot.logs)
    front.is_down, hub.total_rate = False, None
    assert depot.wait(operation["id"], 90 + BUSY)["state"] == "success", depot.logs()
    assert hub.bytes_sent(MODEL) - SIZE <= 64 * MIB
    assert _stored(bucket, depot.model(model_id)["path"]) == contents(repo)


def test_the_keys_secret_is_in_no_log_and_no_other_process(hub: Hub, repo: Repo, depot: Depot, bucket: Place) -> None:
    secret = bucket.server.options.secret_key
    hub.total_rate = 20 * MIB
    operation = depot.create(repo.name)
    until(lambda: _downloaded(depot, operation["reference"]["id"]) > 0, depot.logs)
    downloads = [pid for pid in family(os.getpid()) if forked(pid)]
    assert downloads
    for pid in downloads:
        assert secret not in said(pid, "environ") + said(pid, "cmdline")
    hub.total_rate = None
    assert depot.wait(operation["id"], 60 + BUSY)["state"] == "success", depot.logs()
    assert secret not in depot.logs()
