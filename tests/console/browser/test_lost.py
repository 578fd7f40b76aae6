"""A page that shows news by itself, and a server that is killed, or falls silent, and comes back."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.console.browser.conftest import Served
from tests.console.browser.views import Views
from tests.depot import Depot

_SOON = 5_000
"""Milliseconds within which a page has to say that its server is lost."""


@pytest.fixture
def second(served: Served, tmp_path: Path) -> Iterator[Depot]:
    """Another API of the depot that is served, to be stopped."""
    database_url, redis_url = (served.depot.environment[f"DEPOT_{name}"] for name in ("DATABASE_URL", "REDIS_URL"))
    depot = Depot(tmp_path, database_url=database_url, redis_url=redis_url, hub_endpoint=served.hub.endpoint, workers=0)
    yield depot
    depot.close()


@pytest.fixture
def pages(browser: Browser, second: Depot) -> Iterator[Views]:
    """Pages of it. That they can't load is no fault here."""
    views = Views(browser, second.address(""))
    yield views
    views.close()


def test_pages_say_soon_that_their_server_is_lost_and_show_what_is_so_once_it_is_back(
    served: Served, second: Depot, pages: Views, pictures: Path
) -> None:
    served.hub.add("acme/lost", {"config.json": b"{}"})
    operation = served.depot.create("acme/lost")
    served.depot.wait(operation["id"])
    model_id = operation["reference"]["id"]
    paths = (f"/console/models/{model_id}", "/console?q=acme/lost", "/console/workers", "/console/activity")
    opened = [pages.open(path).page for path in paths]
    api = second.api
    assert api is not None
    for page in opened:
        expect(page.locator("#lost")).to_be_hidden()

    # Its connections stay open, and nothing comes.
    api.send_signal(signal.SIGSTOP)
    for page in opened:
        expect(page.locator("#lost")).to_be_visible(timeout=_SOON)
        expect(page.locator("#announcer")).to_contain_text("Connection lost")
    api.send_signal(signal.SIGCONT)
    for page in opened:
        expect(page.locator("#lost")).to_be_hidden()

    api.kill()
    api.wait()
    for page in opened:
        expect(page.locator("#lost")).to_be_visible(timeout=_SOON)
    opened[0].screenshot(path=pictures / "lost.png")
    assert pages.opened[0].axe() == []
    # What changes meanwhile is shown later.
    served.depot.wait(served.depot.client.delete(f"/ai/model/{model_id}").json()["id"])
    second.start_api()
    for page in opened:
        expect(page.locator("#lost")).to_be_hidden()
    expect(opened[0].get_by_role("heading", name="Not Found")).to_be_visible()
    expect(opened[1].locator(f"tr[data-model='{model_id}']")).to_have_count(0)
