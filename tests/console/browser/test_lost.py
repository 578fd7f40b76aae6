"""A page that shows news by itself, and a server that is killed, or falls silent, and comes back."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.console.browser.conftest import Served
from tests.console.browser.views import PATIENCE, Pictures, Views
from tests.depot import Depot
from tests.processes import BUSY

_SOON = (5 + BUSY) * 1000
"""Milliseconds within which a page has to say that its server is lost: five seconds, where the machine has time for it."""
_OUTAGES = 500, 6_000, 10_000
"""Milliseconds: shorter and longer than pages and their streams wait before they try again."""


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
    served: Served, second: Depot, pages: Views, pictures: Pictures
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
    pictures.take(opened[0], "lost")
    assert pages.opened[0].axe() == []
    # What changes meanwhile is shown later.
    served.depot.wait(served.depot.client.delete(f"/ai/model/{model_id}").json()["id"])
    second.start_api()
    for page in opened:
        expect(page.locator("#lost")).to_be_hidden()
    expect(opened[0].get_by_role("heading", name="Not Found")).to_be_visible()
    expect(opened[1].locator(f"tr[data-model='{model_id}']")).to_have_count(0)


def test_pages_follow_their_model_after_each_outage_however_long_it_was(
    served: Served, second: Depot, pages: Views
) -> None:
    with served.downloading("acme/outages", 512 << 20) as model_id:
        paths = (f"/console/models/{model_id}", "/console?q=acme/outages")
        opened = [pages.open(path).page for path in paths]
        for outage in _OUTAGES:
            assert second.api is not None
            second.api.kill()
            second.api.wait()
            for page in opened:
                expect(page.locator("#lost")).to_be_visible()
            opened[0].wait_for_timeout(outage)
            second.start_api()
            for page in opened:
                expect(page.locator("#lost")).to_be_hidden()
            # Also what changes later, when all that the outage left behind is over.
            for _ in range(8):
                arrived = served.depot.model(model_id)["downloaded"]
                for page in opened:
                    page.wait_for_function(
                        "([id, least]) => document.querySelector(`[data-model='${id}'] progress`).value >= least",
                        arg=[model_id, arrived],
                        timeout=PATIENCE,
                    )
                opened[0].wait_for_timeout(1_000)


def test_a_form_waits_on_its_page_until_the_server_is_back(second: Depot, pages: Views, pictures: Pictures) -> None:
    view = pages.open("/console/keys")
    page = view.page
    name, create = page.locator("input[name=name]"), page.locator("button[data-action=create]")
    name.fill("of an outage")
    assert second.api is not None
    second.api.kill()
    second.api.wait()
    create.click()
    expect(page.locator("#lost")).to_be_visible(timeout=_SOON)
    expect(name).to_have_value("of an outage")
    pictures.take(page, "lost-form")
    assert view.axe() == []
    second.start_api()
    expect(page.locator("#lost")).to_be_hidden()
    expect(page.locator("#announcer")).to_have_text("Connected again")
    create.dblclick()
    expect(page.locator(".made [data-copy]")).not_to_have_count(0)
    page.goto(second.address("/console/keys"))
    expect(page.locator("tr[data-key] th", has_text="of an outage")).to_have_count(1)
