"""Somebody at a terminal, with a depot of real processes to use from outside."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from app.cli.main import main
from tests.depot import KEY, SECRET, Depot
from tests.fakehub.hub import Hub, Synthetic
from tests.terminal import modeldepot


@dataclass(frozen=True)
class Shell:
    """A depot, its Hub, and the environment of somebody who uses it from outside."""

    depot: Depot
    hub: Hub
    environment: dict[str, str]
    _names: Iterator[int] = field(default_factory=count)

    def run(self, *words: str, given: str = "", **variables: str) -> Any:
        return modeldepot(self.environment | variables, *words, given=given)

    def quick(self, *words: str, given: str = "", **variables: str) -> Result:
        """How it ends in this process, which takes a tenth of the time."""
        return CliRunner(env=self.environment | variables).invoke(main, words, input=given)

    def printed(self, *words: str, **variables: str) -> str:
        """What it printed in this process, and all is well."""
        result = self.quick(*words, **variables)
        assert result.exit_code == 0, result.stderr
        return result.stdout

    def done(self, *words: str, **variables: str) -> str:
        """What it printed, and all is well."""
        result = self.run(*words, **variables)
        assert result.returncode == 0, result.stderr
        output: str = result.stdout
        return output

    def repository(self, size: int = 100, **given: Any) -> str:
        """The name of a new one. The Hub sends two MiB of it per second."""
        name = f"acme/model-{next(self._names)}"
        self.hub.add(name, {"config.json": b"{}", "model.safetensors": Synthetic(size, next(self._names))}, **given)
        return name

    def ready(self) -> str:
        """The name of a model that is there, and that no test removes."""
        self.hub.add("acme/ready", {"config.json": b"{}"})
        self.done("pull", "acme/ready")
        return "acme/ready"

    def id_of(self, name: str) -> str:
        (model,) = [one for one in self.depot.client.get("/ai/model").json()["models"] if one["name"] == name]
        found: str = model["id"]
        return found


@contextmanager
def opened(folder: Path, database_url: str, redis_url: str) -> Iterator[Shell]:
    """A shell whose depot has a database and a Redis, and a Hub that is slow."""
    with Hub() as hub:
        hub.rate = 2 << 20
        depot = Depot(folder, database_url=database_url, redis_url=redis_url, hub_endpoint=hub.endpoint, connections=1)
        others = {name: value for name, value in os.environ.items() if not name.startswith(("DEPOT_", "HF_", "XDG_"))}
        where = {"DEPOT_URL": f"http://127.0.0.1:{depot.port}", "DEPOT_KEY": KEY, "DEPOT_SECRET": SECRET}
        yield Shell(depot, hub, others | {"HOME": str(folder), "TERM": "xterm"} | where)
        depot.close()
