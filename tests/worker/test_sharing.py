"""Downloads that need the same content: one of them fetches it, and the others wait for it without a slot and link it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartDepot
from tests.depot import Depot
from tests.fakehub.hub import Fault, Hub, Synthetic
from tests.faults.conftest import mounted
from tests.faults.engine import UNDER_WAY
from tests.processes import until

MIB = 1 << 20
SIZE = 24 * MIB
SHARED = "model.safetensors"
SLOW = 2 * MIB
"""Bytes a second: so that whoever is to wait does before the shared file is there."""
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def add(hub: Hub, *names: str, **how: Any) -> None:
    """Repositories that have one large file in common, and one of 2 MiB each for itself."""
    for number, name in enumerate(names, 2):
        hub.add(name, {SHARED: Synthetic(SIZE), f"{name[5:]}.bin": Synthetic(2 * MIB, number)}, **how)


def begin(depot: Depot, hub: Hub, name: str, **keys: Any) -> dict[str, Any]:
    """A create, once bytes of the shared file come for it."""
    operation = depot.create(name, **keys)

    def comes() -> bool:
        return any(request.bytes_sent and request.file == SHARED for request in hub.requests if request.repo == name)

    assert hub.wait(comes), depot.logs()
    return operation


def waiting(depot: Depot, operation: dict[str, Any], path: str = SHARED) -> bool:
    """Whether it waits for another download."""
    message: str | None = depot.client.get(f"/operation/{operation['id']}").json().get("message")
    return message is not None and message.startswith(f"It waits for '{path}'")


def succeed(depot: Depot, operations: Sequence[dict[str, Any]]) -> list[Path]:
    """Their models' folders, once all are ready."""
    for operation in operations:
        assert depot.wait(operation["id"], 60)["state"] == "success", depot.logs()
    return [depot.storage / "models" / operation["reference"]["id"] for operation in operations]


@pytest.mark.parametrize(("database_url", "number"), [("sqlite", 2), ("postgresql", 5)], indirect=["database_url"])
def test_what_downloads_that_begin_together_have_in_common_is_fetched_once(
    start_depot: StartDepot, hub: Hub, number: int
) -> None:
    names = [f"acme/model-{one}" for one in range(number)]
    add(hub, *names)
    hub.total_rate = 12 * MIB
    depot = start_depot(workers=2, slots=4)
    folders = succeed(depot, [depot.create(name) for name in names])
    assert 0 <= hub.bytes_sent() - SIZE - number * 2 * MIB <= UNDER_WAY
    assert len({(folder / SHARED).stat().st_ino for folder in folders}) == 1
    assert all((folder / SHARED).read_bytes() == Synthetic(SIZE).read() for folder in folders)


@POSTGRESQL
def test_selections_of_one_repository_share_and_who_waits_holds_no_slot_and_tells_the_truth(
    start_depot: StartDepot, hub: Hub
) -> None:
    size = 64 * MIB
    hub.add(
        "acme/model", {SHARED: Synthetic(size), "own.bin": Synthetic(2 * MIB, 2), "more.bin": Synthetic(2 * MIB, 3)}
    )
    hub.add("acme/other", {"other.bin": Synthetic(2 * MIB, 4)})
    hub.total_rate = SLOW
    depot = start_depot(slots=2, small_slots=0)
    first = begin(depot, hub, "acme/model", exclude=["own.bin"])
    second = depot.create("acme/model", exclude=["more.bin"])
    until(lambda: waiting(depot, second), depot.logs)
    model = depot.model(second["reference"]["id"])
    assert (model["status"], model["total"], model["downloaded"]) == ("downloading", size + 2 * MIB, 2 * MIB)
    assert model.get("rate") is None
    succeed(depot, [depot.create("acme/other")])
    assert depot.client.get(f"/operation/{first['id']}").json()["state"] == "pending"
    hub.total_rate = None
    succeed(depot, [first, second])
    assert 0 <= hub.bytes_sent() - size - 3 * 2 * MIB <= UNDER_WAY
    assert depot.model(second["reference"]["id"])["files-verified"] == 2


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
def test_who_waited_for_a_model_that_is_deleted_fetches_the_content_itself(start_depot: StartDepot, hub: Hub) -> None:
    add(hub, "acme/first", "acme/second", "acme/third")
    hub.total_rate = SLOW
    depot = start_depot(slots=3)
    first = begin(depot, hub, "acme/first")
    others = [depot.create(name) for name in ("acme/second", "acme/third")]
    until(lambda: all(waiting(depot, one) for one in others), depot.logs)
    deletion = depot.client.delete(f"/ai/model/{first['reference']['id']}").json()
    succeed(depot, [deletion])
    hub.total_rate = None
    succeed(depot, others)
    sent = [request.bytes_sent for request in hub.requests if request.file == SHARED and request.repo != "acme/first"]
    assert 0 <= sum(sent) - SIZE <= UNDER_WAY


@SQLITE
def test_who_waited_for_a_download_that_fails_fetches_the_content_itself(start_depot: StartDepot, hub: Hub) -> None:
    add(hub, "acme/first", "acme/second")
    hub.misbehave(Fault("corrupt", repo="acme/first", path=SHARED, after_bytes=0, times=None))
    hub.total_rate = SLOW
    depot = start_depot(slots=2)
    first = begin(depot, hub, "acme/first")
    second = depot.create("acme/second")
    until(lambda: waiting(depot, second), depot.logs)
    hub.total_rate = None
    assert depot.wait(first["id"], 60)["reason"] == "partial"
    (folder,) = succeed(depot, [second])
    assert (folder / SHARED).read_bytes() == Synthetic(SIZE).read()


@POSTGRESQL
def test_a_worker_that_is_killed_with_what_others_wait_for_is_replaced(start_depot: StartDepot, hub: Hub) -> None:
    add(hub, "acme/first", "acme/second")
    hub.total_rate = SLOW
    depot = start_depot(slots=2)
    first = begin(depot, hub, "acme/first")
    second = depot.create("acme/second")
    until(lambda: waiting(depot, second), depot.logs)
    depot.workers[0].kill()
    depot.workers[0].wait()
    hub.total_rate = None
    depot.start_worker()
    succeed(depot, [first, second])
    assert hub.bytes_sent(SHARED) < 2 * SIZE


@SQLITE
def test_who_may_not_read_a_repository_gets_nothing_however_long_it_waited(start_depot: StartDepot, hub: Hub) -> None:
    add(hub, "acme/first")
    add(hub, "acme/gated", "acme/closed", gated=True)
    hub.account("hf_reader", accepted=["acme/gated"])
    hub.total_rate = SLOW
    depot = start_depot(slots=3)
    first = begin(depot, hub, "acme/first")
    allowed = depot.create("acme/gated", huggingface_token="hf_reader")
    refused = depot.create("acme/closed", huggingface_token="hf_reader")
    assert depot.wait(refused["id"])["reason"] == "forbidden"
    until(lambda: waiting(depot, allowed), depot.logs)
    hub.account("hf_reader")
    hub.total_rate = None
    succeed(depot, [first])
    assert depot.wait(allowed["id"])["reason"] == "forbidden"
    assert not (depot.storage / "models" / allowed["reference"]["id"]).exists()


@SQLITE
def test_a_disk_with_room_for_the_content_once_is_enough(start_depot: StartDepot, hub: Hub, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", 40) as problem:
        if problem:
            pytest.skip(problem)
        add(hub, "acme/first", "acme/second", "acme/third")
        hub.total_rate = 12 * MIB
        depot = start_depot(slots=3, storage=tmp_path / "disk")
        names = ("acme/first", "acme/second", "acme/third")
        for operation in [depot.create(name) for name in names]:
            assert depot.wait(operation["id"], 60)["state"] == "success", depot.logs()
        assert 0 <= hub.bytes_sent(SHARED) - SIZE <= UNDER_WAY
        depot.close()


@pytest.mark.parametrize(("database_url", "xet"), [("sqlite", False), ("postgresql", True)], indirect=["database_url"])
def test_who_needs_little_of_a_large_download_fetches_it_first_and_the_large_one_links_it(
    start_depot: StartDepot, hub: Hub, xet: bool
) -> None:
    hub.add("acme/quants", {"a.gguf": Synthetic(40 * MIB), "b.gguf": Synthetic(2 * MIB, 2)}, xet=xet)
    hub.total_rate = SLOW
    depot = start_depot(slots=2, connections=1)
    whole = depot.create("acme/quants")
    assert hub.wait(lambda: hub.bytes_sent() > 0)
    quant = depot.create("acme/quants", include=["b.gguf"])
    until(lambda: waiting(depot, quant, "b.gguf"), depot.logs)
    succeed(depot, [quant])
    assert depot.client.get(f"/operation/{whole['id']}").json()["state"] == "pending"
    hub.total_rate = None
    (folder,) = succeed(depot, [whole])
    assert xet or hub.bytes_sent() == 42 * MIB
    assert (folder / "b.gguf").read_bytes() == Synthetic(2 * MIB, 2).read()
    assert (folder / "b.gguf").stat().st_nlink == 2
