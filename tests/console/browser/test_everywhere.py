"""What all pages have: toasts, many rows at once, times, the theme, the tab's title, the menu; and notifications."""

import json
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from app.console import sign_in_links as links
from app.sealing import Sealer
from tests.console.browser.conftest import Served
from tests.console.browser.views import PHONE, Views
from tests.depot import KEY, SECRET_KEY
from tests.processes import until

_SEEN = """
window.Notification = class extends Notification {
  constructor(title, options) {
    super(title, options);
    localStorage.seen = JSON.stringify([...JSON.parse(localStorage.seen || "[]"), [title, options.tag]]);
  }
};
"""
_ONE_LINE = """() => [...document.querySelectorAll("header.top > *")]
    .filter((part) => part.checkVisibility() && getComputedStyle(part).position !== "fixed")
    .map((part) => part.getBoundingClientRect())
    .map((box) => Math.round(box.top + box.height / 2))"""


@pytest.fixture(scope="module")
def failed(served: Served) -> Iterator[list[str]]:
    """The names of three models that can't be fetched."""
    names = [f"acme/lacking-{number}" for number in range(3)]
    ids = [served.depot.create(name)["reference"]["id"] for name in names]
    for model_id in ids:
        until(lambda model_id=model_id: served.depot.model(model_id)["status"] == "error", served.depot.logs)  # type: ignore[misc]
    yield names
    for model_id in ids:
        served.depot.client.delete(f"/ai/model/{model_id}")


def test_ticked_rows_are_retried_and_deleted_together_and_a_toast_says_so(
    served: Served, views: Views, failed: list[str]
) -> None:
    page = views.open("/console?q=acme/lacking&sort=name").page
    expect(page.locator(".bulk")).to_be_hidden()
    heights = page.locator("tr[data-model]").evaluate_all("rows => rows.map(row => row.offsetHeight)")
    assert len(set(heights)) == 1
    page.get_by_label(f"Select {failed[0]}").check()
    expect(page.locator(".bulk")).to_contain_text("1 selected")
    # Rows are replaced as their models change, and stay ticked.
    row = page.locator("tr[data-model]").filter(has_text=failed[0])
    before = str(row.get_attribute("data-digest"))
    served.depot.wait(served.depot.create(failed[0])["id"])
    expect(row).not_to_have_attribute("data-digest", before)
    expect(page.get_by_label(f"Select {failed[0]}")).to_be_checked()
    page.get_by_label("Select all on this page").check()
    expect(page.locator(".bulk")).to_contain_text("3 selected")
    # What none of them allows is not offered.
    expect(page.locator(".bulk button:visible")).to_have_text(["Retry", "Delete"])
    page.locator(".bulk").get_by_role("button", name="Retry").click()
    page.locator("#toast").hover()  # so long it stays
    expect(page.locator("#toast")).to_contain_text("3 models are tried again.")
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#toast")).to_have_count(0)
    expect(page).to_have_url(re.compile(r"q=acme%2Flacking&sort=name$"))
    expect(page.locator("tr[data-status=error]")).to_have_count(3)

    page.get_by_label(f"Select {failed[2]}").check()
    page.locator(".bulk").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading")).to_contain_text("Shall this model be deleted?")
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("#toast")).to_contain_text("1 model is deleted.")
    expect(page.locator("tr[data-model]")).to_have_count(2)


def test_activity_follows_what_goes_on_and_dismisses_what_failed(
    served: Served, views: Views, failed: list[str]
) -> None:
    with served.downloading("acme/followed", 64 << 20):
        view = views.open("/console/activity")
        page = view.page
        row = page.locator("#activity tr").filter(has_text="acme/followed")
        expect(row.get_by_role("progressbar")).to_be_visible()
        expect(page).to_have_title(re.compile(r"^\d+ % · Activity · Model Depot$"))
        box = page.get_by_label(f"Select {failed[0]}")
        box.check()
        figures = row.locator(".figures").text_content()
        expect(row.locator(".figures")).not_to_have_text(str(figures))
        expect(box).to_be_checked()
        assert view.axe() == []
        page.get_by_role("button", name="Dismiss").click()
        # Who thinks about it confirms a form that has been replaced meanwhile.
        figures = row.locator(".figures").text_content()
        expect(row.locator(".figures")).not_to_have_text(str(figures))
        page.locator("dialog[open] button[value=yes]").click()
        expect(page.locator("#toast")).to_contain_text("1 model is dismissed.")
        expect(page.locator("tr[data-failed]").filter(has_text=failed[0])).to_have_count(0)
    expect(page.locator("#activity tr").filter(has_text="acme/followed")).to_have_count(0)
    expect(page).to_have_title("Activity · Model Depot")
    expect(page.get_by_role("img", name=re.compile("^Bytes fetched per second in the last 24 hours"))).to_be_visible()


def test_the_theme_is_the_users_choice_and_times_are_in_the_browsers_zone(served: Served, views: Views) -> None:
    context = views.browser.new_context(timezone_id="Asia/Kolkata", locale="en-GB", color_scheme="light")
    page = context.new_page()
    page.goto(f"{served.origin}/console/sign-in")
    page.locator("input[name=key]").fill("visible")
    page.get_by_role("button", name="Show the key").click()
    expect(page.locator("input[name=key]")).to_have_attribute("type", "text")
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    button = page.locator("#theme")
    expect(button).to_have_text("Theme: system")
    button.click()
    button.click()
    expect(button).to_have_text("Theme: dark")
    dark = page.evaluate(colour)
    assert light != dark
    page.reload()
    expect(button).to_have_text("Theme: dark")
    assert page.evaluate(colour) == dark

    page.goto(links.new(Sealer([SECRET_KEY]), served.origin, KEY))
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{served.origin}/console")
    page.goto(f"{served.origin}/console/audit")
    moment = page.locator("tbody time").first
    expect(moment).to_have_text(re.compile(r"^\d{1,2} \w{3,4},? \d\d:\d\d$"))
    told = page.evaluate("time => [time.dateTime, time.title, time.textContent.slice(-5)]", moment.element_handle())
    minutes = [int(clock[:2]) * 60 + int(clock[3:5]) for clock in (told[0][11:16], told[2])]
    assert (minutes[1] - minutes[0]) % 1440 == 330  # India's offset
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC · .+", told[1])
    expect(page.get_by_role("link", name="API documentation")).to_have_attribute("href", "/docs")
    context.close()


def test_on_a_phone_the_header_is_one_row_and_the_menu_opens(served: Served, views: Views) -> None:
    view = views.open("/console", size=PHONE)
    page = view.page
    middles = page.evaluate(_ONE_LINE)
    assert len(middles) == 3
    assert max(middles) - min(middles) <= 2
    deployments = page.get_by_role("link", name="Deployments")
    expect(deployments).to_be_hidden()
    page.get_by_role("button", name="Menu").click()
    expect(deployments).to_be_visible()
    assert view.axe() == []
    deployments.click()
    expect(page).to_have_url(f"{served.origin}/console/deployments")


def test_who_asks_for_it_is_notified_of_what_is_ready_and_what_failed_on_any_page(served: Served, views: Views) -> None:
    page = views.open("/console/storage").page
    page.context.grant_permissions(["notifications"])
    page.context.add_init_script(_SEEN)
    page.reload()
    page.clock.install()
    button = page.locator("#notify")
    expect(button).to_have_text("Notifications: off")
    with page.expect_response(lambda answer: urlsplit(answer.url).path == "/console/news"):
        button.click()
    expect(button).to_have_text("Notifications: on")
    served.hub.add("acme/told", {"config.json": b"{}"})
    operations = [served.depot.create(name)["id"] for name in ("acme/told", "acme/untold")]
    for operation in operations:
        served.depot.wait(operation)
    page.goto(f"{served.origin}/console/keys")  # what ended between two pages is told, too
    page.wait_for_function("() => JSON.parse(localStorage.seen || '[]').length === 2")
    seen = json.loads(page.evaluate("localStorage.seen"))
    assert sorted(seen) == sorted([["acme/told is ready", operations[0]], ["acme/untold failed", operations[1]]])
    with page.expect_response(lambda answer: "since=" in answer.url) as asked:
        page.clock.run_for(11_000)
    assert json.loads(asked.value.text())["news"] == []
    page.locator("#notify").click()
    expect(page.locator("#notify")).to_have_text("Notifications: off")
