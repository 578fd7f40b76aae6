"""A fleet from nothing to a ready model, through every kind of container killed, to nothing again."""

import hashlib
import json
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compose.fleet import Fleet, crash, docker, inspect, logs, starts_containers
from tests.processes import until

pytestmark = starts_containers

_WORKERS = 3
_LEASE = 6
_SMALL, _LARGE = "acme/small", "acme/large"
_LARGE_BYTES = 512 << 20
_RATE = 2 << 20
"""Bytes a second for each of the 8 connections of a download: by itself the large model takes half a minute."""
_RESUMABLE = 100 << 20
"""Bytes of which some outlast a kill: each of 8 connections may lose the 8 MiB it has in hand."""
_HASHES = """
import hashlib, json, pathlib, sys
root = pathlib.Path(sys.argv[1])
print(json.dumps({str(path.relative_to(root)): hashlib.file_digest(path.open("rb"), "sha256").hexdigest()
                  for path in root.rglob("*") if path.is_file()}))
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    quick = {"DEPOT_LEASE": str(_LEASE), "DEPOT_POLL_INTERVAL": "2", "DEPOT_BACKOFF": "1"}
    fleet = Fleet(tmp_path, HUB_RATE=str(_RATE), DEPOT_WORKERS=str(_WORKERS), **quick)
    for name, size in ((_SMALL, 3 << 20), (_LARGE, _LARGE_BYTES)):
        folder = fleet.repositories / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text('{"model_type": "test"}')
        source = random.Random(name)
        with (folder / "model.safetensors").open("wb") as output:
            for _ in range(size >> 20):
                output.write(source.randbytes(1 << 20))
    try:
        yield fleet
    finally:
        fleet.down()


def test_a_fleet_of_three_workers_goes_on_whichever_container_is_killed(fleet: Fleet) -> None:
    stages: dict[str, float] = {}
    began = time.monotonic()
    fleet.compose("build")
    stages["build"] = time.monotonic() - began
    began = time.monotonic()
    fleet.compose("up", "-d")
    stages["up with 3 workers"] = time.monotonic() - began
    small = fleet.create(_SMALL)
    fleet.wait_for(small, lambda model: model["status"] == "ready")
    stages["from nothing to the first ready model"] = time.monotonic() - began
    _is_as_documented(fleet)
    _is_what_the_hub_has(fleet, _SMALL)
    _cannot_be_deleted_while_deployed(fleet, small)

    large = fleet.create(_LARGE)
    fleet.wait_for(large, lambda model: (model["downloaded"] or 0) > _RESUMABLE)
    for service in ("redis", "postgres", "api", "worker"):
        stages[f"{service} killed: bytes arrive again after"] = _kill_during(fleet, service, large)
    stages["worker stopped: another goes on after"] = _stop_during(fleet, large)
    model = fleet.wait_for(large, lambda model: model["status"] == "ready", within=180)
    stages["large model ready, from nothing"] = time.monotonic() - began
    assert model["model-size"] == _LARGE_BYTES + len('{"model_type": "test"}')
    _is_what_the_hub_has(fleet, _LARGE)
    _everything_is_healthy(fleet)

    for model_id in (small, large):
        _delete(fleet, model_id)
    assert fleet.answer("GET", "/ai/model") == (200, {"models": []})
    assert _on_storage(fleet, "/models").keys() == {"depot/mark"}
    for name, seconds in stages.items():
        print(f"{name}: {seconds:.1f} s")
    began = time.monotonic()
    fleet.down()
    assert docker("volume", "ls", "-q", "--filter", f"label=com.docker.compose.project={fleet.project}") == ""
    print(f"down with its volumes: {time.monotonic() - began:.1f} s")


def _cannot_be_deleted_while_deployed(fleet: Fleet, model_id: str) -> None:
    status, operation = fleet.answer("POST", "/ai/deployment", {"name": "engine", "model": {"id": model_id}})
    assert (status, operation["state"]) == (200, "success")
    deployment_id = operation["reference"]["id"]
    status, refusal = fleet.answer("DELETE", f"/ai/model/{model_id}")
    assert (status, refusal["deployments"]) == (412, [deployment_id])
    assert fleet.answer("DELETE", f"/ai/deployment/{deployment_id}")[0] == 200


def _delete(fleet: Fleet, model_id: str) -> None:
    status, operation = fleet.answer("DELETE", f"/ai/model/{model_id}")
    assert status == 200
    path = f"/operation/{operation['id']}"
    until(lambda: fleet.answer("GET", path)[1]["state"] == "success", lambda: str(fleet.answer("GET", path)))
    assert fleet.answer("GET", f"/ai/model/{model_id}")[0] == 404


def _kill_during(fleet: Fleet, service: str, model_id: str) -> float:
    """Seconds from the kill until bytes are seen to arrive after it."""
    _downloading(fleet, model_id)
    begun = _begun(fleet, model_id)
    container = fleet.holder(model_id) if service == "worker" else fleet.containers(service)[0]
    restarts = inspect(container)["RestartCount"]
    when = crash(container)
    until(lambda: inspect(container)["RestartCount"] > restarts, lambda: docker("logs", "--tail", "20", container))
    if service == "worker":
        _goes_on_from_what_was_there(fleet, model_id, begun)
    more = _downloading(fleet, model_id)
    fleet.wait_for(model_id, lambda model: (model["downloaded"] or 0) > more)
    return time.monotonic() - when


def _stop_during(fleet: Fleet, model_id: str) -> float:
    """Seconds from SIGTERM to a worker until another one goes on with its work."""
    _downloading(fleet, model_id)
    begun = _begun(fleet, model_id)
    container = fleet.holder(model_id)
    when = time.monotonic()
    docker("stop", "--time", "30", container)
    assert time.monotonic() - when < 10, "it was not gone in time"
    assert inspect(container)["State"]["ExitCode"] == 0
    _goes_on_from_what_was_there(fleet, model_id, begun)
    took = time.monotonic() - when
    assert fleet.holder(model_id) not in {container, ""}
    docker("start", container)
    return took


def _downloading(fleet: Fleet, model_id: str) -> int:
    """How many bytes are there; it must not be over yet."""
    model = fleet.wait_for(model_id, lambda model: model["status"] == "ready" or bool(model["downloaded"]))
    assert model["status"] == "downloading", "it was over too soon: nothing is shown"
    return int(model["downloaded"])


def _begun(fleet: Fleet, model_id: str) -> list[Any]:
    """What workers said when they began to download it, oldest first."""
    lines = [line for worker in fleet.containers("worker") for line in logs(worker) if '"download begins"' in line]
    said = [line for line in map(json.loads, lines) if line["model-id"] == model_id]
    return sorted(said, key=lambda line: str(line["timestamp"]))


def _goes_on_from_what_was_there(fleet: Fleet, model_id: str, before: list[Any]) -> None:
    until(lambda: len(_begun(fleet, model_id)) > len(before), lambda: fleet.compose("logs", "--tail", "15"), within=60)
    begun = _begun(fleet, model_id)[-1]
    assert begun["missing"] < begun["total"]


def _is_as_documented(fleet: Fleet) -> None:
    """Nothing but the API is published; ours run as nobody in particular, on a root that can't be written."""
    workers = fleet.containers("worker")
    assert len(workers) == _WORKERS
    (migrate,), (api,) = fleet.containers("migrate"), fleet.containers("api")
    state = inspect(migrate)["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 0)
    for container in (*workers, api):
        assert docker("exec", container, "id", "-u").strip() == "10001"
        assert docker("exec", container, "sh", "-c", "touch /opt/x 2>&1 || echo refused").strip().endswith("refused")
        found = docker("exec", container, "sh", "-c", "for tool in pip gcc cc make; do command -v $tool; done; true")
        assert found == ""
    for service in ("postgres", "redis", "worker"):
        for container in fleet.containers(service):
            assert docker("port", container) == ""
    assert docker("port", api).strip() == f"8080/tcp -> 127.0.0.1:{fleet.port}"
    for container in (*workers, api):
        _tells_its_metrics_on_one_network_only(fleet, container)
    for service in ("postgres", "redis", "migrate", "api", "worker"):
        for container in fleet.containers(service):
            host = inspect(container)["HostConfig"]
            assert (host["CapDrop"], host["CapAdd"]) == (["ALL"], None), service
    (redis,) = fleet.containers("redis")
    told = docker("exec", redis, "sh", "-c", "REDISCLI_AUTH=$REDIS_PASSWORD redis-cli config get maxmemory-policy")
    assert "noeviction" in told
    assert "NOAUTH" in docker("exec", redis, "redis-cli", "dbsize")


def _tells_its_metrics_on_one_network_only(fleet: Fleet, container: str) -> None:
    networks = inspect(container)["NetworkSettings"]["Networks"]
    assert len(networks) == 3
    for name, network in networks.items():
        ask = f"import socket; socket.create_connection(('{network['IPAddress']}', 9090), 5)"
        asked = subprocess.run(["docker", "exec", container, "python", "-c", ask], capture_output=True, check=False)
        assert (asked.returncode == 0) == (name == f"{fleet.project}_metrics"), name


def _everything_is_healthy(fleet: Fleet) -> None:
    for service in ("postgres", "redis", "api", "worker"):
        for container in fleet.containers(service):

            def state(container: str = container) -> Any:
                return inspect(container)["State"]["Health"]

            until(lambda: state()["Status"] == "healthy", lambda: str(state()), within=60)


def _is_what_the_hub_has(fleet: Fleet, name: str) -> None:
    folder = fleet.repositories / name
    served = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    assert _on_storage(fleet, f"/models/by-name/{name}") == served


def _on_storage(fleet: Fleet, path: str) -> dict[str, str]:
    """The SHA-256 of every file below `path`, as a worker sees it."""
    worker = fleet.containers("worker")[0]
    hashes: dict[str, str] = json.loads(docker("exec", worker, "python", "-c", _HASHES, path))
    return hashes
