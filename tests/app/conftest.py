"""What all tests of a module share: an API on each kind of database, without a worker; or a shell and its depot."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.domain.errors import Reason
from tests.app import by_hand
from tests.app.shell import Shell, opened
from tests.conftest import migrated
from tests.depot import Depot
from tests.servers import Redis


@dataclass
class Api:
    """An API without a worker: the test does what a worker would, by hand."""

    depot: Depot
    database_url: str
    _names: Iterator[int] = field(default_factory=count)

    def name(self) -> str:
        """A repository that no other test names."""
        return f"acme/model-{next(self._names)}"

    def ask(self, method: str, path: str, body: Any = None, **given: Any) -> httpx2.Response:
        """One request; `body` is sent as JSON."""
        if body is not None:
            given["json"] = body
        return self.depot.client.request(method, path, **given)

    def carry_out(self) -> None:
        """The work that has been due longest is done, well."""
        by_hand.run(self.database_url, by_hand.carry_out)

    def fail(self, reason: Reason = Reason.NOT_FOUND) -> None:
        """The work that has been due longest fails."""
        by_hand.run(self.database_url, partial(by_hand.fail, reason=reason))

    def ready_model(self) -> str:
        """The id of a new model that is ready."""
        operation = self.depot.create(self.name())
        self.carry_out()
        model_id: str = operation["reference"]["id"]
        assert self.depot.model(model_id)["status"] == "ready"
        return model_id

    def stored(self) -> tuple[Any, Any]:
        """All models and all deployments."""
        return self.ask("GET", "/ai/model").json(), self.ask("GET", "/ai/deployment").json()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def api(request: pytest.FixtureRequest, redis_server: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("api")
    database_url = migrated(request, folder)
    depot = Depot(
        folder, database_url=database_url, redis_url=redis_server.url, hub_endpoint="http://127.0.0.1:9", workers=0
    )
    yield Api(depot, database_url)
    depot.close()
    assert "Traceback" not in depot.logs()


@pytest.fixture(scope="module")
def shell(migrated_sqlite: Path, redis_server: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    folder = tmp_path_factory.mktemp("shell")
    shutil.copy(migrated_sqlite, folder / "depot.sqlite3")
    with opened(folder, f"sqlite:///{folder / 'depot.sqlite3'}", redis_server.url) as shell:
        yield shell
