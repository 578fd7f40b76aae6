"""The files beside docker-compose.yml, started the way their first lines say."""

import re
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from app.storage.locations import S3Options
from app.storage.s3.objects import Objects
from tests.compose.fleet import ROOT, Fleet, docker, inspect, starts_containers
from tests.processes import free_port, said, until

pytestmark = starts_containers

_NAME = "acme/small"
_ROOT_CERTIFICATE = "/data/caddy/pki/authorities/local/root.crt"
_FORGED = {"X-Forwarded-For": "203.0.113.7"}
Start = Callable[..., Fleet]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start docker-compose.yml with the files beside it, and a Hub that has one model."""
    fleets: list[Fleet] = []

    def start(*beside: str, **settings: str) -> Fleet:
        fleet = Fleet(tmp_path, *beside, DEPOT_BOOTSTRAP_KEY="", DEPOT_BOOTSTRAP_SECRET="", **settings)
        fleets.append(fleet)
        folder = fleet.repositories / _NAME
        folder.mkdir(parents=True)
        (folder / "config.json").write_text('{"model_type": "test"}')
        (folder / "model.safetensors").write_bytes(bytes(1 << 20))
        fleet.compose("up", "-d", "--build")
        fleet.make_key()
        return fleet

    yield start
    for fleet in fleets:
        fleet.down()


def test_caddy_speaks_tls_for_the_api_and_says_whom_a_request_comes_from(start: Start) -> None:
    _needs("caddy:2")
    port = free_port()
    fleet = start(
        "deploy/docker-compose.tls.yml",
        DEPOT_DOMAIN="localhost",
        DEPOT_CADDY_OPTIONS="local_certs",
        DEPOT_PUBLISH_HTTP=f"127.0.0.1:{free_port()}",
        DEPOT_PUBLISH_HTTPS=f"127.0.0.1:{port}",
    )
    (api,), (proxy,) = fleet.containers("api"), fleet.containers("proxy")
    directly = fleet.address
    fleet.address, fleet.trust = f"https://localhost:{port}", _trust_in(proxy)
    status, answer = fleet.answer("GET", "/zone")
    assert (status, answer["zones"][0]["api-endpoint"]) == (200, "https://localhost/v2")
    _a_model_arrives(fleet)

    # The API's own port is published too: whoever asks there is not taken at his word.
    for address in (fleet.address, directly):
        fleet.address = address
        status, _ = fleet.answer("POST", "/ai/deployment", {"name": "x", "model": {"name": _NAME}}, **_FORGED)
        assert status == 200
    outside = inspect(proxy)["NetworkSettings"]["Networks"][f"{fleet.project}_outside"]
    addresses = {line.split()[4] for line in docker("exec", api, "modeldepot", "audit").splitlines()[1:]}
    assert addresses == {outside["Gateway"]}, "the engine passes on what comes from this machine as its gateway's"


def test_secrets_that_stand_in_files_are_told_to_nobody_else(start: Start, tmp_path: Path) -> None:
    name = "deploy/docker-compose.secrets.yml"
    steps = re.findall(r"^#      (.+)$", (ROOT / name).read_text(), re.MULTILINE)
    words = [line for line in steps if re.match("[A-Z_]+=", line)]
    making = "\n".join(line for line in steps if line not in words)
    subprocess.run(["bash", "-euc", making], cwd=tmp_path, check=True)
    folder = tmp_path / "secrets"
    secrets = {file.name: file.read_text().strip() for file in folder.iterdir()}
    assert len(secrets) == 5
    assert all(len(secret) > 30 for secret in secrets.values())

    fleet = start(name, DEPOT_SECRETS=str(folder), **dict(line.split("=", 1) for line in words))
    _a_model_arrives(fleet)
    for service in ("postgres", "redis", "migrate", "api", "worker"):
        for container in fleet.containers(service):
            told = _told(container)
            assert not [secret for secret, value in secrets.items() if value in told], service
    (redis,) = fleet.containers("redis")
    assert "NOAUTH" in docker("exec", redis, "redis-cli", "dbsize")


def test_a_fleet_without_a_shared_disk_keeps_its_models_in_seaweedfs(start: Start) -> None:
    _needs("chrislusf/seaweedfs:4.53")
    key, secret, port = token_hex(10), token_hex(20), free_port()
    published = f"127.0.0.1:{port}"
    words = {"DEPOT_S3_ACCESS_KEY": key, "DEPOT_S3_SECRET_KEY": secret, "DEPOT_S3_PUBLISH": published}
    fleet = start("deploy/s3.yml", DEPOT_WORKERS="2", **words)
    model = _a_model_arrives(fleet)
    bucket = Objects("models", S3Options(f"http://{published}", access_key=key, secret_key=secret))
    folder = model["path"].removeprefix("s3://models/") + "/"
    assert bucket.get(f"{folder}config.json") == (fleet.repositories / _NAME / "config.json").read_bytes()

    for service in ("objects-filer", "objects-volume", "objects-master"):
        (container,) = fleet.containers(service)
        assert secret not in "".join(_processes(container)), service
        docker("restart", container)
    until(lambda: _is_there(bucket, f"{folder}model.safetensors"), lambda: fleet.compose("logs", "objects-filer"), 120)
    for worker in fleet.containers("worker"):
        assert not [mount for mount in inspect(worker)["Mounts"] if mount["Type"] != "tmpfs"]

    assert fleet.answer("DELETE", f"/ai/model/{model['id']}")[0] == 200
    until(lambda: list(bucket.below(folder)) == [], lambda: fleet.compose("logs", "worker"), 120)


def _is_there(bucket: Objects, key: str) -> bool:
    try:
        return bucket.head(key).size > 0
    except OSError:
        return False


def _needs(image: str) -> None:
    """Compose would fetch it as well, but fail where that can't be done."""
    for words in (["image", "inspect", image], ["pull", "-q", image]):
        if subprocess.run(["docker", *words], capture_output=True, check=False).returncode == 0:
            return
    pytest.skip(f"there is no image {image} here, and none can be fetched")


def _a_model_arrives(fleet: Fleet) -> Any:
    model = fleet.wait_for(fleet.create(_NAME), lambda model: model["status"] in {"ready", "error"})
    assert model["status"] == "ready", model
    return model


def _trust_in(proxy: str) -> ssl.SSLContext:
    """In the authority that Caddy makes of itself once it runs."""
    read = ["docker", "exec", proxy, "cat", _ROOT_CERTIFICATE]
    until(lambda: subprocess.run(read, capture_output=True, check=False).returncode == 0, lambda: docker("logs", proxy))
    return ssl.create_default_context(cadata=docker("exec", proxy, "cat", _ROOT_CERTIFICATE))


def _told(container: str) -> str:
    """What the engine knows of a container, what it logged, and the words and environments of its processes.

    Environments are missing where this user may not read them; what the engine gave them is not.
    """
    about: Any = inspect(container)
    logged = subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=True)
    told = [str(about), logged.stdout, logged.stderr]
    if about["State"]["Running"]:
        processes = _processes(container)
        told += processes
        told += [said(int(line.split()[0]), "environ") for line in processes]
    return "\n".join(told)


def _processes(container: str) -> list[str]:
    """The id and the command line of each."""
    processes = docker("top", container, "-eo", "pid,args").splitlines()[1:]
    assert processes
    return processes
