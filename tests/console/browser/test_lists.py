"""Lists: on a phone, and where a change of the order leaves who looks at them."""

import re

import pytest
from playwright.sync_api import expect

from tests.console.browser.conftest import Served
from tests.console.browser.views import PHONE, Views
from tests.processes import until


@pytest.fixture(scope="module", autouse=True)
def failed(served: Served) -> None:
    """Something that every list is of: a model that can't be fetched."""
    model_id = served.depot.create("acme/nowhere-to-be-found")["reference"]["id"]
    until(lambda: served.depot.model(model_id)["status"] == "error", served.depot.logs)


@pytest.mark.parametrize(
    ("path", "column"),
    [("/console", "size"), ("/console/activity", "took"), ("/console/keys", "used"), ("/console/audit", "address")],
)
def test_a_phone_shows_of_the_heads_those_that_sort_and_sorts_by_them(views: Views, path: str, column: str) -> None:
    view = views.open(path, size=PHONE)
    order = view.page.locator(f"#sort-{column}")
    expect(order).to_be_visible()
    order.click()
    expect(view.page.locator("th[aria-sort]").filter(has=order)).to_be_visible()
    others = view.page.locator("thead th:not(:has(a, input))").evaluate_all(
        "heads => heads.map(head => head.offsetWidth)"
    )
    assert set(others) <= {1}  # only who does not see the page is told of them
    assert (view.width(), view.broken(), view.axe()) == (PHONE[0], [], [])


def test_who_sorts_or_filters_a_list_down_the_page_stays_there(views: Views) -> None:
    page = views.open("/console/activity", size=PHONE).page
    for link in ("#sort-took", "#chip-state-failure"):
        page.evaluate("scrollTo(0, 0)")
        page.locator(link).click()
        expect(page).to_have_url(re.compile("sort=-?took#done$"))
        expect(page.locator("#done")).to_be_in_viewport()
        expect(page.get_by_role("heading", name="Activity")).not_to_be_in_viewport()


def test_the_first_click_puts_the_largest_and_newest_first_and_names_in_their_order(views: Views) -> None:
    page = views.open("/console").page
    for column, orders in {"size": ["-size", "size", "-size"], "name": ["name", "-name", "name"]}.items():
        for order in orders:
            page.locator(f"#sort-{column}").click()
            expect(page).to_have_url(re.compile(f"sort={order}$"))
            direction = "descending" if order.startswith("-") else "ascending"
            expect(page.locator("th[aria-sort]")).to_have_attribute("aria-sort", direction)
