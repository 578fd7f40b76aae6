"""A fleet of containers, driven through the compose command of this machine."""

import json
import os
import secrets
import shutil
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from app.domain.keys import new_id, new_secret
from tests.processes import free_port, until

ROOT = Path(__file__).parents[2]
_HUB = "tests/compose/hub.yml"


def compose_command() -> Sequence[str] | None:
    """Compose v2 as a plug-in of docker, or else docker-compose; None where there is neither."""
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0:
        return [docker, "compose"]
    alone = shutil.which("docker-compose")
    return [alone] if alone else None


def no_engine() -> str | None:
    """Why containers can't be started here, or None."""
    if not shutil.which("docker") or compose_command() is None:
        return "there is no docker command, or none for compose"
    answer = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False)
    return None if answer.returncode == 0 else "no Docker engine answers"


_WANTED = os.environ.get("DEPOT_TEST_COMPOSE") == "1"
_WHY_NOT = no_engine() if _WANTED else "tests/compose/run starts it: it takes minutes (or set DEPOT_TEST_COMPOSE=1)"
starts_containers = pytest.mark.skipif(_WHY_NOT is not None, reason=str(_WHY_NOT))


def clean_environment() -> dict[str, str]:
    ours = ("DEPOT_", "HF_", "HUB_", "POSTGRES_", "REDIS_", "COMPOSE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


class Fleet:
    """One compose project with a name, a port, secrets and volumes of its own.

    `beside` names the files beside docker-compose.yml. `address` and `trust` say where and how the API is asked.
    """

    def __init__(self, folder: Path, *beside: str, **settings: str) -> None:
        self.project = f"depot-test-{secrets.token_hex(4)}"
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.trust: ssl.SSLContext | None = None
        self.repositories = folder / "repositories"
        self.repositories.mkdir(mode=0o755)
        self._environment_file = folder / "env"
        self._files = ["docker-compose.yml", *beside, _HUB]
        self._key, self._secret = new_id(), new_secret()
        values = {
            "POSTGRES_PASSWORD": secrets.token_hex(24),
            "REDIS_PASSWORD": secrets.token_hex(24),
            "DEPOT_SECRET_KEY": secrets.token_urlsafe(32),
            "DEPOT_BOOTSTRAP_KEY": self._key,
            "DEPOT_BOOTSTRAP_SECRET": self._secret,
            "DEPOT_PUBLISH": f"127.0.0.1:{self.port}",
            "DEPOT_PUBLIC_URL": self.address,
            "DEPOT_HUB_ENDPOINT": "http://hub:8090",
            "HUB_SOURCES": str(ROOT / "tests"),
            "HUB_REPOSITORIES": str(self.repositories),
        }
        lines = [f"{name}={value}" for name, value in (values | settings).items()]
        self._environment_file.write_text("\n".join(lines) + "\n")

    def compose(self, *words: str) -> str:
        command = compose_command()
        assert command is not None
        files = [word for name in self._files for word in ("-f", str(ROOT / name))]
        whole = [*command, "-p", self.project, "--env-file", str(self._environment_file), *files, *words]
        environment = clean_environment() | {"DOCKER_BUILDKIT": "0", "COMPOSE_DOCKER_CLI_BUILD": "0"}
        done = subprocess.run(whole, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.fail(f"compose {' '.join(words)} failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
        return done.stdout

    def containers(self, service: str = "") -> list[str]:
        """The ids of a service's containers, or of all, running or not."""
        of = {"project": self.project} | ({"service": service} if service else {})
        filters = [
            word for key, value in of.items() for word in ("--filter", f"label=com.docker.compose.{key}={value}")
        ]
        return docker("ps", "-aq", "--no-trunc", *filters).split()

    def holder(self, model_id: str) -> str:
        """The id of the container whose worker holds the model's operation; empty when none does."""
        statement = f"SELECT lease_owner FROM operations WHERE state = 'pending' AND resource_id = '{model_id}'"
        (postgres,) = self.containers("postgres")
        ask = 'PGPASSWORD=$POSTGRES_PASSWORD exec psql -U depot -d depot -Atc "$1"'
        owner = docker("exec", postgres, "sh", "-c", ask, "--", statement).strip()
        name = owner.partition(":")[0]
        return next((worker for worker in self.containers("worker") if name and worker.startswith(name)), "")

    def make_key(self) -> None:
        """Use a key as the README makes one, in place of the one that is there from the start."""
        (api,) = self.containers("api")
        said = docker("exec", api, "modeldepot", "key", "create", "--name", "me").splitlines()
        told = dict(line.split(maxsplit=1) for line in said)
        self._key, self._secret = told["key"], told["secret"]

    def answer(self, method: str, path: str, body: Mapping[str, Any] | None = None, **headers: str) -> tuple[int, Any]:
        """The API's answer; status 0 when there is none."""
        request = urllib.request.Request(
            f"{self.address}/v2{path}",
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers=headers
            | {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}:{self._secret}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=10, context=self.trust) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)
        except (OSError, ValueError):
            return 0, None

    def create(self, name: str) -> str:
        """The id of a new model."""
        answers: list[Any] = []

        def accepted() -> bool:
            answers.append(self.answer("POST", "/ai/model", {"name": name}))
            return bool(answers[-1][0] == 200)

        until(accepted, lambda: str(answers[-1]), within=60)
        return str(answers[-1][1]["reference"]["id"])

    def wait_for(self, model_id: str, condition: Callable[[Any], bool], within: float = 60) -> Any:
        """The model, once the condition holds for it. An API that is away is asked again."""
        answers: list[Any] = []

        def holds() -> bool:
            answers.append(self.answer("GET", f"/ai/model/{model_id}"))
            assert answers[-1][0] in {0, 200, 503}, answers[-1]
            return answers[-1][0] == 200 and condition(answers[-1][1])

        until(holds, lambda: f"{answers[-1]}\n{self.compose('logs', '--tail', '15')}", within=within)
        return answers[-1][1]

    def down(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "10")


def docker(*words: str) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"docker {' '.join(words)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


def inspect(container: str) -> Any:
    return json.loads(docker("inspect", container))[0]


def logs(container: str) -> list[str]:
    done = subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=True)
    return done.stderr.splitlines()


def crash(container: str) -> float:
    """SIGKILL its main process from inside, as the kernel would; the engine restarts it. Returns when, by this clock."""
    when = time.monotonic()
    docker("exec", container, "sh", "-c", "kill -9 $(cat /proc/1/task/1/children)")
    return when
