"""A model's page tells that its branch has moved, and fetches what it is at now."""

import re

from playwright.sync_api import expect

from tests.console.browser.conftest import Served
from tests.console.browser.views import Pictures, Views
from tests.processes import until

_NAME = "acme/moving"
_TOAST_ENDS = "document.getElementById('toast').getBoundingClientRect().bottom"
_FOOTER_BEGINS = "document.querySelector('.foot').getBoundingClientRect().top"


def test_a_branch_that_moved_is_told_and_updated_beside_the_model(
    served: Served, views: Views, pictures: Pictures
) -> None:
    repo = served.hub.add(_NAME, {"config.json": b"{}", "model.safetensors": bytes(4000)})
    operation = served.depot.create(_NAME)
    assert served.depot.wait(operation["id"])["state"] == "success"
    model_id = operation["reference"]["id"]
    view = views.open(f"/console/models/{model_id}")
    page = view.page
    page.get_by_role("button", name="Check for an update").click()
    expect(page.locator("#toast")).to_contain_text("main has not moved")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    assert page.evaluate(_TOAST_ENDS) <= page.evaluate(_FOOTER_BEGINS)
    newer = repo.commit({"config.json": b"[]"})
    # What the Hub said a moment ago is remembered for two seconds. The open page is told what is found.
    until(lambda: served.depot.client.get(f"/ai/model/{model_id}/latest").json()["moved"], served.depot.logs)
    notice = page.locator("#update")
    expect(notice).to_contain_text("main has moved on the Hub")
    expect(notice).to_contain_text(newer[:8])
    expect(page.locator("#changed")).to_have_attribute("href", f"{served.hub.endpoint}/{_NAME}/commits/main")
    faults = view.looks(pictures, "model-moved")
    page.get_by_role("button", name="Update", exact=True).click()
    expect(page).not_to_have_url(re.compile(model_id))
    expect(page.locator("#toast")).to_contain_text("The update is being fetched.")
    expect(page.locator("#live")).to_have_attribute("data-status", "ready")
    expect(page.get_by_label("About the model")).to_contain_text(newer)
    expect(page.get_by_label("About the model").locator("div", has_text="Revision")).to_contain_text("main")
    faults += view.looks(pictures, "model-update", ["light"])
    new = page.url

    page.goto(f"{served.origin}/console/models/{model_id}")
    expect(notice).to_contain_text("is ready")
    expect(page.get_by_role("button", name="Update", exact=True)).to_have_count(0)
    assert page.locator("#heir").get_attribute("href") == new.removeprefix(served.origin)
    page.goto(f"{served.origin}/console?q=moving")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.filter(has_text="main has moved on the Hub")).to_have_count(1)
    expect(rows.filter(has_text=f"main, updated to {newer[:8]}")).to_have_count(1)
    assert faults == []


def test_a_reader_is_told_and_can_change_nothing(served: Served, views: Views) -> None:
    repo = served.hub.add("acme/moved", {"config.json": b"{}"})
    operation = served.depot.create("acme/moved")
    assert served.depot.wait(operation["id"])["state"] == "success"
    model_id = operation["reference"]["id"]
    repo.commit({"config.json": b"[]"})
    view = views.open(f"/console/models/{model_id}", key=served.reader)
    # The page that is open is told what is found meanwhile.
    until(lambda: served.depot.client.get(f"/ai/model/{model_id}/latest").json()["moved"], served.depot.logs)
    expect(view.page.locator("#update")).to_contain_text("main has moved on the Hub")
    expect(view.page.locator("main").get_by_role("button", name="Update", exact=True)).to_have_count(0)
    expect(view.page.get_by_role("button", name="Check for an update")).to_have_count(0)
