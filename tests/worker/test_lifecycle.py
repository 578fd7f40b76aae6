"""A model from its create to its delete, as its owner sees it."""

import json
import time
from pathlib import Path

import pytest

from app.storage.layout import FOLDERS
from tests.conftest import StartDepot
from tests.depot import Depot
from tests.fakehub.exchange import Place
from tests.fakehub.hub import Fault, Hub, Synthetic
from tests.faults.watching import children, writers
from tests.processes import BUSY, until

SIZE = 24 << 20
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_progress_shows_in_the_model_and_as_events_until_it_is_ready(start_depot: StartDepot, hub: Hub) -> None:
    hub.add("acme/large", {"config.json": b"{}", "model.safetensors": Synthetic(SIZE)})
    # Slow until it was seen under way.
    hub.total_rate = 1 << 20
    depot = start_depot()
    operation = depot.create("acme/large")
    model_id = operation["reference"]["id"]
    assert depot.model(model_id)["status"] in {"creating", "downloading"}
    events = []
    with depot.client.stream("GET", f"/ai/model/{model_id}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("data:"):
                events.append(json.loads(line.removeprefix("data:")))
                if events[-1].get("status") == "downloading" and len(events) == 4:
                    seen = depot.model(model_id)
                    assert (seen["status"], seen["total"]) == ("downloading", SIZE + 2)
                    assert seen["commit"]
                    hub.total_rate = None
    *progress, end = events
    shown = [model["downloaded"] for model in progress if model["status"] == "downloading"]
    assert len(set(shown)) >= 2
    assert shown == sorted(shown)
    assert all(0 <= count <= SIZE + 2 for count in shown)
    assert {model["files"] for model in progress if model["status"] == "downloading"} == {2}
    # The large one is the last.
    assert 1 in {model["files-verified"] for model in progress}
    assert (progress[-1]["status"], progress[-1]["files-verified"]) == ("ready", 2)
    assert (end["id"], end["state"]) == (operation["id"], "success")
    assert depot.model(model_id)["model-size"] == SIZE + 2
    told = [json.loads(line) for line in depot.logs().splitlines() if f'"model-id": "{model_id}"' in line]
    assert {(line["event"], line["name"]) for line in told} >= {
        ("download begins", "acme/large"),
        ("model is ready", "acme/large"),
    }


@SQLITE
def test_include_and_exclude_choose_the_files_and_the_links_tell_selections_apart(
    start_depot: StartDepot, hub: Hub
) -> None:
    files = {"a.Q4_K_M.gguf": b"four", "a.Q8_0.gguf": b"eight bits", "README.md": b"read me", "sub/b.gguf": b"below"}
    repo = hub.add("acme/quants", files)
    repo.commit({"README.md": b"another"}, branch="next")
    depot = start_depot()
    some = depot.create("acme/quants", include=["*.gguf"], exclude=["*Q8_0*"])
    whole = depot.create("acme/quants")
    following = depot.create("acme/quants", revision="next", include=["README.md"])
    paths = []
    for operation, size in ((some, 9), (whole, 26), (following, 7)):
        assert depot.wait(operation["id"])["state"] == "success", depot.logs()
        model = depot.model(operation["reference"]["id"])
        assert model["model-size"] == size
        paths.append(Path(model["path"]))
    assert _tree(paths[0]) == {"a.Q4_K_M.gguf": b"four", "sub/b.gguf": b"below"}
    assert _tree(paths[1]) == files
    assert _tree(paths[2]) == {"README.md": b"another"}
    by_name = depot.storage / "by-name" / "acme"
    assert paths[1] == by_name / "quants"
    assert paths[1].resolve() == depot.storage / "models" / whole["reference"]["id"]
    assert len({path.name for path in paths}) == 3
    _delete(depot, whole["reference"]["id"])
    assert sorted(path.name for path in by_name.iterdir()) == sorted(path.name for path in (paths[0], paths[2]))
    listed = depot.client.get(f"/ai/model/{some['reference']['id']}/files").json()["files"]
    assert [(file["path"], file["size"]) for file in listed] == [("a.Q4_K_M.gguf", 4), ("sub/b.gguf", 5)]


@pytest.mark.parametrize(
    ("database_url", "place"),
    [("postgresql", "auth"), ("sqlite", "tree"), ("postgresql", "file"), ("sqlite", "file")],
    indirect=["database_url"],
)
def test_a_delete_stops_the_download_at_once_and_leaves_nothing(
    start_depot: StartDepot, hub: Hub, place: Place
) -> None:
    hub.add("acme/large", {"model.safetensors": Synthetic(SIZE)})
    hub.misbehave(Fault("stall", on=place, after_bytes=1 << 20 if place == "file" else None, times=None))
    depot = start_depot(slots=1, connections=2)
    operation = depot.create("acme/large")
    model_id = operation["reference"]["id"]
    assert hub.wait(lambda: any(request.fault == "stall" for request in hub.requests))
    if place == "file":
        until(lambda: writers(depot.storage).get(model_id), depot.logs)
    busy = children(depot.workers[0].pid)
    asked = time.monotonic()
    deletion = depot.client.delete(f"/ai/model/{model_id}").json()
    again = depot.client.delete(f"/ai/model/{model_id}")
    ended = depot.client.get(f"/operation/{operation['id']}").json()
    assert (ended["state"], ended["reason"]) == ("failure", "interrupted")
    assert "deleted" in ended["message"]
    until(lambda: not set(busy) & set(children(depot.workers[0].pid)), depot.logs, BUSY)
    took = time.monotonic() - asked
    assert took < 2, took
    assert again.status_code == 404 or again.json()["id"] == deletion["id"]
    assert depot.wait(deletion["id"])["state"] == "success"
    assert depot.client.get(f"/ai/model/{model_id}").status_code == 404
    assert left(depot.storage) == []
    hub.behave()
    fresh = depot.create("acme/large")
    assert depot.wait(fresh["id"])["state"] == "success", depot.logs()


@SQLITE
def test_an_operation_past_its_deadline_times_out_and_a_retry_goes_on_from_the_bytes(
    start_depot: StartDepot, hub: Hub
) -> None:
    hub.add("acme/large", {"model.safetensors": Synthetic(SIZE)})
    hub.total_rate = 8 << 20
    depot = start_depot(operation_deadline=8, connections=1)
    until(lambda: "worker is ready" in depot.logs(), depot.logs)
    operation = depot.create("acme/large")
    # Bytes are kept in steps of 8 MiB.
    until(lambda: (depot.model(operation["reference"]["id"]).get("downloaded") or 0) > (9 << 20), depot.logs)
    hub.total_rate = 1 << 18
    assert depot.wait(operation["id"])["state"] == "timeout"
    ended = depot.wait(operation["id"])
    assert ended["reason"] == "interrupted"
    assert "deadline" in ended["message"]
    until(lambda: writers(depot.storage) == {}, depot.logs, BUSY)
    assert depot.model(operation["reference"]["id"])["status"] == "error"
    hub.total_rate = None
    hub.forget()
    retry = depot.create("acme/large")
    assert retry["reference"]["id"] == operation["reference"]["id"]
    assert depot.wait(retry["id"])["state"] == "success", depot.logs()
    assert hub.bytes_sent() < SIZE


def left(storage: Path) -> list[str]:
    """All that a storage holds but for its own folders."""
    own = {*FOLDERS, "depot/mark"}
    return sorted(name for path in storage.rglob("*") if (name := path.relative_to(storage).as_posix()) not in own)


def _delete(depot: Depot, model_id: str) -> None:
    assert depot.wait(depot.client.delete(f"/ai/model/{model_id}").json()["id"])["state"] == "success", depot.logs()


def _tree(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
