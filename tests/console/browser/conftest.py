"""One browser, one depot and one Hub for all tests of this folder."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.cli.test_keys_command import made
from tests.console.browser.views import PATIENCE, Pictures, Views
from tests.depot import Depot
from tests.fakehub.hub import Hub, Synthetic
from tests.processes import until
from tests.servers import PostgreSQL, Redis

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True)
class Served:
    """The depot whose console is looked at, the Hub that it fetches from, and who may only look."""

    depot: Depot
    hub: Hub
    reader: tuple[str, str]

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.depot.port}"

    @contextmanager
    def downloading(self, name: str, size: int) -> Iterator[str]:
        """The id of a new model of that many bytes, of which one MiB a second arrives; it is removed at the end."""
        self.hub.add(name, {"model.safetensors": Synthetic(size)})
        self.hub.total_rate = 1 << 20
        model_id: str = self.depot.create(name)["reference"]["id"]
        try:
            until(lambda: self.depot.model(model_id)["rate"], self.depot.logs)
            yield model_id
        finally:
            self.hub.total_rate = None
            self.depot.client.delete(f"/ai/model/{model_id}").raise_for_status()


@pytest.fixture(scope="package")
def program() -> str:
    """Where the browser is."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        pytest.skip("there is no browser: apt-get install chromium")
    return found


@pytest.fixture(scope="package")
def served(
    program: str,  # noqa: ARG001  # without one, nothing is started
    postgresql: PostgreSQL,
    redis_server: Redis,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("console")
    address = postgresql.migrated()
    with Hub() as hub:
        depot = Depot(folder, database_url=address, redis_url=redis_server.url, hub_endpoint=hub.endpoint)
        try:
            yield Served(depot, hub, made(depot.environment, "--name", "reader", "--role", "reader"))
        finally:
            depot.close()
        assert "Traceback" not in depot.logs()


@pytest.fixture(scope="package")
def browser(program: str, served: Served) -> Iterator[Browser]:  # noqa: ARG001  # what it needs is started before it
    """It has an event loop of its own, which no other may run beside: nothing here may be async."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        yield browser
        browser.close()


@pytest.fixture
def views(browser: Browser, served: Served) -> Iterator[Views]:
    """Opens pages. In the end none of them may have had an error or asked another server for anything."""
    views = Views(browser, served.origin)
    yield views
    views.close()
    assert list(views.faults()) == []


@pytest.fixture(scope="package")
def pictures() -> Pictures:
    """They are taken if SCREENSHOTS names a folder for them."""
    folder = Path(told) if (told := os.environ.get("SCREENSHOTS")) else None
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    return Pictures(folder)
