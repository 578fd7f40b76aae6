"""A model from its add to its delete, and one that fails first; with a mouse, and with the keyboard alone."""

import re

from playwright.sync_api import Page, expect

from tests.console.browser.conftest import Served
from tests.console.browser.views import Views
from tests.depot import KEY, SECRET
from tests.fakehub.hub import Hub, Synthetic

_SIZE, _RATE = 16 << 20, 1 << 20
_MODEL = re.compile(r"/console/models/[0-9a-f-]{36}$")
_PROGRESS = "progress[data-progress]"


def test_a_model_is_added_seen_arriving_held_by_a_deployment_freed_and_deleted(served: Served, views: Views) -> None:
    _slow(served.hub, "acme/held")
    view = views.open("/console/sign-in", key=None)
    view.sign_in()
    page = view.page
    page.get_by_role("link", name="Add a model").click()
    page.locator("input[name=name]").fill("acme/held")
    page.locator("input[name=name]").press("Enter")
    expect(page).to_have_url(_MODEL)
    _is_seen_moving(page, served.hub)
    _is(page, "ready")
    expect(page.get_by_role("rowheader", name="model.safetensors")).to_be_visible()

    model_page, model_id = page.url, page.url.rsplit("/", 1)[1]
    served.depot.client.post("/ai/deployment", json={"name": "chat", "model": {"id": model_id}}).raise_for_status()
    page.reload()
    expect(page.locator("main button[data-action=delete]")).to_have_count(0)
    expect(page.locator("#held")).to_contain_text("once no deployment holds it")
    page.locator("#held").get_by_role("link", name="chat").click()
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="chat"))
    view.press("delete", within=row)
    expect(row).to_have_count(0)
    page.goto(model_page)
    view.press("delete")
    expect(page).to_have_url(f"{served.origin}/console")
    expect(page.locator(f"tr[data-model='{model_id}']")).to_have_count(0)
    assert served.depot.client.get(f"/ai/model/{model_id}").status_code == 404


def test_a_model_that_fails_says_why_and_arrives_when_it_is_retried(served: Served, views: Views) -> None:
    view = views.open("/console/models/new")
    page = view.page
    page.locator("input[name=name]").fill("acme/later")
    page.get_by_role("button", name="Download").click()
    _is(page, "error")
    expect(page.locator("#live")).to_contain_text("not-found")
    _slow(served.hub, "acme/later")
    view.press("retry")
    delete = page.locator("main button[data-action=delete]")
    view.tab_to(delete)
    _is_seen_moving(page, served.hub)
    _is(page, "ready")
    expect(page.locator(".past").first).to_contain_text("success")
    expect(delete).to_be_focused()


def test_the_list_shows_what_others_do_while_it_is_looked_at(served: Served, views: Views) -> None:
    _slow(served.hub, "acme/listed")
    operation = served.depot.create("acme/listed")
    page = views.open("/console?q=acme/listed").page
    row = page.locator(f"tr[data-model='{operation['reference']['id']}']")
    _is_seen_moving(page, served.hub)
    expect(row).to_have_attribute("data-status", "ready")
    served.depot.client.delete(f"/ai/model/{operation['reference']['id']}").raise_for_status()
    expect(row).to_have_count(0)


def test_everything_can_be_done_with_the_keyboard_alone(served: Served, views: Views) -> None:
    served.hub.add("acme/typed", {"config.json": b"{}"})
    view = views.open("/console/sign-in", key=None)
    page, keys = view.page, view.page.keyboard
    expect(page.locator("input[name=key]")).to_be_focused()
    keys.type(f"{KEY}:{SECRET}")
    keys.press("Enter")
    expect(page).to_have_url(f"{served.origin}/console")
    view.tab_to(page.get_by_role("link", name="Skip to the content"))
    view.tab_to(page.get_by_role("link", name="Add a model"))
    keys.press("Enter")
    expect(page.locator("input[name=name]")).to_be_focused()
    keys.type("acme/typed")
    view.tab_to(page.get_by_role("button", name="Download"))
    keys.press("Enter")
    _is(page, "ready")
    view.tab_to(page.locator("main button[data-action=delete]"))
    keys.press("Enter")
    yes = page.locator("dialog[open] button[value=yes]")
    expect(yes).to_be_visible()
    keys.press("Escape")
    expect(yes).to_be_hidden()
    expect(page.locator("main button[data-action=delete]")).to_be_focused()
    keys.press("Enter")
    view.tab_to(yes)
    keys.press("Enter")
    expect(page).to_have_url(f"{served.origin}/console")
    view.tab_to(page.get_by_role("button", name="Sign out"))
    keys.press("Enter")
    expect(page).to_have_url(f"{served.origin}/console/sign-in")


def _slow(hub: Hub, name: str) -> None:
    """A repository like no other, of which so little arrives in a second that it is seen."""
    hub.add(name, {"config.json": b"{}", "model.safetensors": Synthetic(_SIZE, seed=len(hub.repos))})
    hub.total_rate = _RATE


def _is_seen_moving(page: Page, hub: Hub) -> None:
    """Its bar stands at two places, without a load of the page; then the rest arrives quickly."""
    bar = page.locator(f"{_PROGRESS}[value]")
    expect(bar).to_be_visible()
    first = float(bar.get_attribute("value") or 0)
    page.evaluate("window.loadedOnce = true")
    page.wait_for_function(
        "([bar, first]) => { const now = document.querySelector(bar); return now && now.value > first; }",
        arg=[_PROGRESS, first],
    )
    assert page.evaluate("window.loadedOnce")
    hub.total_rate = None


def _is(page: Page, status: str) -> None:
    expect(page.locator("#live")).to_have_attribute("data-status", status)
