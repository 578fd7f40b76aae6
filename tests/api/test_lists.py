"""Lists of any length: whole, in order, in slices, and told apart from lists that broke off."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest

from tests import many
from tests.api import contract
from tests.api.raw import AUTHORIZATION, BUSY, Memory, heard
from tests.by_hand import Api, run
from tests.depot import CREDENTIALS, Depot
from tests.processes import until
from tests.servers import PostgreSQL, Redis

_MANY = 2_601
"""Rows: more than fit in one slice, and not a whole number of slices."""
_CROWD = 20_000
"""Rows: 9 MB of JSON."""
_CLIENTS = 20
_BOUND = 64 << 20
"""Bytes by which the API may grow."""


@pytest.fixture(scope="module")
def ids(api: Api) -> list[str]:
    """Those of very many models, oldest first."""
    ids: list[str] = run(api.database_url, lambda database: many.add_models(database, _MANY))
    return ids


def slow_reader(port: int) -> socket.socket:
    """One that asked for all models, and takes little of them before it reads."""
    client = socket.socket()
    client.settimeout(BUSY)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.sendall(b"GET /v2/ai/model HTTP/1.1\r\nHost: depot\r\n" + AUTHORIZATION + b"\r\n")
    return client


def listed(api: Api, path: str = "/ai/model", **params: Any) -> list[Any]:
    answer = api.ask("GET", path, params=params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    (rows,) = answer.json().values()
    assert isinstance(rows, list)
    return rows


def test_the_whole_list_has_every_model_once_in_order(api: Api, ids: list[str]) -> None:
    models = listed(api)
    assert [model["id"] for model in models if model["name"].startswith("many/")] == ids
    contract.check(contract.MODELS, {"models": models})


@pytest.mark.parametrize("limit", [499, 500, 501, 600, 601, 2_600, 2_601, 9_999])
def test_a_page_has_as_many_as_it_may(api: Api, ids: list[str], limit: int) -> None:
    first = listed(api, limit=limit)
    assert [model["id"] for model in first] == ids[:limit]
    if limit < len(ids):
        assert [model["id"] for model in listed(api, limit=limit, after=first[-1]["id"])] == ids[limit : 2 * limit]


@pytest.mark.usefixtures("ids")
def test_a_name_and_a_status_choose(api: Api) -> None:
    name = api.name()
    for revision in ("main", "other"):
        api.depot.create(name, revision=revision)
    assert [model["revision"] for model in listed(api, name=name)] == ["main", "other"]
    assert [model["revision"] for model in listed(api, name=name, limit=1)] == ["main"]
    assert listed(api, name=name, status="ready") == listed(api, name=name.upper()) == []
    assert {model["name"] for model in listed(api, status="creating")} >= {name}
    assert len(listed(api, status="ready")) >= _MANY
    assert listed(api, status="error") == []
    for _ in range(2):
        api.carry_out()
    assert len(listed(api, name=name, status="ready")) == 2


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/ai/model", {"name": ""}),
        ("/ai/model", {"name": "a\0b"}),
        ("/ai/model", {"name": "x" * 1001}),
        ("/ai/model", {"status": "well"}),
        ("/ai/model", {"status": ""}),
        ("/ai/deployment", {"name": ""}),
        ("/ai/deployment", {"model": "acme/model"}),
        ("/ai/deployment", {"limit": "0"}),
    ],
)
def test_what_can_not_choose_is_refused_by_name(api: Api, path: str, params: dict[str, str]) -> None:
    answer = api.ask("GET", path, params=params)
    assert answer.status_code == 400, answer.text
    contract.check(contract.ERROR, answer.json())
    assert answer.json()["field"] == next(iter(params))


def test_deployments_keys_and_files_are_listed_in_slices_too(api: Api, ids: list[str]) -> None:
    run(api.database_url, lambda database: many.add_deployments(database, ids[0], _MANY))
    run(api.database_url, lambda database: many.add_files(database, ids[1], _MANY))
    known = set(run(api.database_url, lambda database: many.add_keys(database, _MANY)))
    run(api.database_url, lambda database: many.add_keys(database, 1, revoked=True))
    deployments = listed(api, "/ai/deployment")
    contract.check(contract.DEPLOYMENTS, {"deployments": deployments})
    assert len({one["id"] for one in deployments}) == len(deployments) == _MANY
    assert listed(api, "/ai/deployment", model=ids[1]) == []
    assert len(listed(api, "/ai/deployment", model=ids[0])) == _MANY
    assert listed(api, "/ai/deployment", name=deployments[7]["name"]) == [deployments[7]]
    assert listed(api, "/ai/deployment", limit=700) == deployments[:700]
    files = listed(api, f"/ai/model/{ids[1]}/files")
    contract.check(contract.FILES, {"files": files})
    assert [file["path"] for file in files] == [f"file-{one:06}" for one in range(_MANY)]
    keys = [key["key"] for key in listed(api, "/ai/api-key")]
    assert len(set(keys)) == len(keys)
    assert {key for key in keys if key in known} == known


@pytest.fixture(scope="module")
def crowded(redis_server: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Depot, PostgreSQL]]:
    """An API of so many models that no list fits between it and its client, and its database's own server."""
    with PostgreSQL() as server:
        address = server.migrated()
        run(address, lambda database: many.add_models(database, _CROWD))
        folder = tmp_path_factory.mktemp("crowded")
        depot = Depot(
            folder, database_url=address, redis_url=redis_server.url, hub_endpoint="http://127.0.0.1:9", workers=0
        )
        yield depot, server
        depot.close()
        assert "Traceback" not in depot.logs()


def test_who_does_not_read_holds_little_and_no_connection_to_the_database(crowded: tuple[Depot, PostgreSQL]) -> None:
    depot, _ = crowded
    assert depot.api
    first = depot.client.get("/ai/model", params={"limit": 1}).json()["models"][0]["id"]
    memory = Memory(depot.api.pid)
    with ExitStack() as stack:
        for client in [stack.enter_context(slow_reader(depot.port)) for _ in range(_CLIENTS)]:
            assert client.recv(12) == b"HTTP/1.1 200"
        # The pool has ten connections.
        assert depot.model(first)["status"] == "ready"
        assert len(depot.client.get("/ai/model").json()["models"]) == _CROWD
        assert memory.grown() < _BOUND


def test_a_list_that_can_not_be_ended_is_no_list(crowded: tuple[Depot, PostgreSQL]) -> None:
    depot, server = crowded
    with slow_reader(depot.port) as client:
        said = client.recv(4096)
        assert said.startswith(b"HTTP/1.1 200 ")
        server.stop()
        try:
            said += heard(client)
        finally:
            server.start()
    assert not said.endswith((b"0\r\n\r\n", b"]}"))
    until(lambda: "a list breaks off" in depot.logs(), depot.logs)
    assert len(depot.client.get("/ai/model").json()["models"]) == _CROWD


def test_others_are_answered_while_lists_are_read(api: Api, ids: list[str]) -> None:
    stopped = threading.Event()

    def reads() -> None:
        with httpx2.Client(base_url=str(api.depot.client.base_url), headers=CREDENTIALS, timeout=60) as client:
            while not stopped.is_set():
                assert client.get("/ai/model").status_code == 200

    readers = [threading.Thread(target=reads) for _ in range(4)]
    for reader in readers:
        reader.start()
    try:
        took = _median(lambda: api.depot.model(ids[0]))
    finally:
        stopped.set()
        for reader in readers:
            reader.join()
    assert took < 1.0


def _median(work: Callable[[], object]) -> float:
    took = []
    for _ in range(31):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return sorted(took)[len(took) // 2]
