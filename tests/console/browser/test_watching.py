"""Keys from their making to their end, and the workers' page while it is looked at."""

import re

from playwright.sync_api import expect

from tests.console.browser.conftest import Served
from tests.console.browser.views import Pictures, Views
from tests.processes import until


def test_a_key_is_made_copied_used_and_revoked(served: Served, views: Views) -> None:
    view = views.open("/console/keys")
    page = view.page
    page.locator("input[name=name]").fill("of a browser")
    page.locator("button[data-action=create]").click()
    copies = page.locator(".made [data-copy]")
    both, key, secret = (str(copies.nth(place).get_attribute("data-copy")) for place in range(3))
    assert both == f"{key}:{secret}"
    copies.nth(2).click()
    expect(copies.nth(2)).to_have_text("Copied secret")
    assert view.axe() == []
    page.reload()  # sends nothing again, and shows no secret again
    expect(page.locator(".made")).to_have_count(0)
    expect(page.locator("tr[data-key] th", has_text="of a browser")).to_have_count(1)

    other = views.open("/console/storage", key=(key, secret))
    expect(other.page.get_by_role("link", name="Keys")).to_have_count(0)
    page.goto(f"{served.origin}/console/keys")
    page.get_by_role("link", name="Revoke of a browser").click()
    expect(page.get_by_role("heading")).to_have_text("Revoke of a browser?")
    assert view.axe() == []
    page.locator("button[data-action=revoke]").click()
    expect(page).to_have_url(f"{served.origin}/console/keys")
    expect(page.locator(f"tr[data-key={key}] a")).to_have_count(0)

    def out() -> bool:
        other.page.goto(f"{served.origin}/console/storage")
        return other.page.url.endswith("/console/sign-in?next=/console/storage")

    until(out, served.depot.logs)


def test_the_workers_page_follows_what_each_does_and_leaves_the_focus_where_it_is(served: Served, views: Views) -> None:
    with served.downloading("acme/watched", 64 << 20):
        page = views.open("/console/workers").page
        held = page.locator("li[data-operation]").filter(has_text="acme/watched")
        link, progress = held.get_by_role("link"), held.get_by_role("progressbar")
        link.focus()
        before = progress.get_attribute("value")
        expect(progress).not_to_have_attribute("value", str(before))
        expect(held).to_contain_text(re.compile(r"\d+ % of 67.1 MB · .*/s · .* left"))
        expect(link).to_be_focused()
    expect(page.locator("#workers")).not_to_contain_text("acme/watched")
    expect(page.locator("#workers .pill")).to_have_text("idle")


def test_the_workers_page_keeps_its_filter_its_order_and_the_focus_when_it_asks_for_itself(
    served: Served, views: Views, pictures: Pictures
) -> None:
    with served.downloading("acme/filtered", 64 << 20):
        view = views.open("/console/workers?status=busy&sort=name")
        page = view.page
        order, busy = page.locator("#sort-name"), page.locator("#chip-status-busy")
        expect(page.locator("#workers .pill")).to_have_text("busy")
        order.focus()
        progress = page.get_by_role("progressbar")
        before = progress.get_attribute("value")
        expect(progress).not_to_have_attribute("value", str(before))
        expect(order).to_be_focused()
        expect(order).to_have_attribute("href", "/console/workers?status=busy&sort=-name")
        expect(busy).to_have_attribute("aria-current", "true")
        assert view.looks(pictures, "workers-busy") == []
    expect(page.locator("#workers")).to_contain_text("No worker is like that.")
    page.locator("#all").click()
    expect(page.locator("#workers .pill")).to_have_text("idle")
