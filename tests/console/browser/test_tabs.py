"""More tabs than a browser has connections for one server."""

from playwright.sync_api import expect

from tests.console.browser.conftest import Served
from tests.console.browser.views import Views

_TABS = 8
"""Browsers have 6 connections for a server that speaks HTTP/1.1."""
# A browser without a window shows all of its tabs.
_HIDDEN = "Object.defineProperty(document, 'hidden', {get: () => !window.shown})"
_SHOW = "window.shown = true; document.dispatchEvent(new Event('visibilitychange'))"


def test_tabs_that_nobody_looks_at_take_no_connection_from_others_and_are_live_once_they_are_seen(
    served: Served, views: Views
) -> None:
    served.hub.add("acme/tabs", {"config.json": b"{}"})
    operation = served.depot.create("acme/tabs")
    served.depot.wait(operation["id"])
    path = f"{served.origin}/console?q=acme/tabs"
    context = views.open("/console").page.context
    context.add_init_script(_HIDDEN)
    tabs = [context.new_page() for _ in range(_TABS)]
    for tab in tabs:
        tab.goto(path)
    last = tabs[-1]
    row = last.locator(f"tr[data-model='{operation['reference']['id']}']")
    expect(row).to_have_attribute("data-status", "ready")
    last.evaluate(_SHOW)
    served.depot.client.delete(f"/ai/model/{operation['reference']['id']}").raise_for_status()
    expect(row).to_have_count(0)
