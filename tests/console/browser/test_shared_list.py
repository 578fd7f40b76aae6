"""The list of models while others add and delete some: its rows, chips and totals, and what somebody has begun there."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.console.browser.conftest import Served
from tests.console.browser.views import Views

_LIST = "/console?q=acme/follow-"
_WATCH_TIMES = """() => {
    window.seen = [];
    const look = () => {
        const times = document.querySelectorAll("#results .when time");
        window.seen.push(...[...times].map(time => time.textContent));
        requestAnimationFrame(look);
    };
    look();
}"""


@pytest.fixture
def add(served: Served) -> Iterator[Callable[[str], str]]:
    """Adds a small model, whose id it returns when it is ready."""
    ids: list[str] = []

    def one(name: str) -> str:
        served.hub.add(f"acme/follow-{name}", {"config.json": name.encode()})
        operation = served.depot.create(f"acme/follow-{name}")
        served.depot.wait(operation["id"])
        ids.append(operation["reference"]["id"])
        return ids[-1]

    yield one
    for model_id in ids:
        served.depot.client.delete(f"/ai/model/{model_id}")


def test_rows_chips_and_totals_follow_what_others_do(served: Served, views: Views, add: Callable[[str], str]) -> None:
    page, ready = views.open(_LIST).page, views.open("/console?status=ready").page
    expect(page.locator(".total")).to_contain_text("No model is like that")
    before = _ready(ready)
    first = add("first")
    _shows(page, 1)
    add("second")
    _shows(page, 2)
    expect(ready.locator("#chip-status-ready .count")).to_have_text(str(before + 2))
    expect(ready.locator(".total")).to_contain_text(f"{before + 2} model")
    served.depot.client.delete(f"/ai/model/{first}").raise_for_status()
    _shows(page, 1)
    expect(ready.locator("#chip-status-ready .count")).to_have_text(str(before + 1))


def test_what_is_ticked_focused_and_scrolled_to_stays_while_the_list_follows(
    views: Views, add: Callable[[str], str]
) -> None:
    chosen, other = add("ticked"), add("other")
    page = views.open(_LIST, size=(1280, 260)).page
    box, link = page.locator(f"#pick-{chosen}"), page.locator(f"#a-{other}")
    box.check()
    page.evaluate("scrollTo(0, 120)")
    add("third")
    _shows(page, 3)
    expect(box).to_be_checked()
    expect(box).to_be_focused()
    expect(page.locator("[data-ticked]")).to_have_text("1 selected")
    assert page.evaluate("scrollY") == 120
    link.focus()
    add("fourth")
    _shows(page, 4)
    expect(link).to_be_focused()
    expect(page.locator("#pick-all")).to_be_visible()


def test_times_are_local_in_each_frame_while_rows_change(
    served: Served, views: Views, add: Callable[[str], str]
) -> None:
    with served.downloading("acme/follow-slow", 64 << 20):
        page = views.open(_LIST).page
        bar = page.locator("#results progress[value]")
        expect(bar).to_be_visible()
        page.evaluate(_WATCH_TIMES)
        for _ in range(3):
            before = bar.get_attribute("value")
            expect(bar).not_to_have_attribute("value", str(before))
        served.hub.total_rate = None
        add("beside")
        _shows(page, 2)
        page.locator("[name=q]").fill("acme/follow-slow")
        _shows(page, 1)
        seen = page.evaluate("window.seen")
        assert seen
        assert [text for text in seen if "ago" in text or "now" in text] == []


def _ready(page: Page) -> int:
    chip = page.locator("#chip-status-ready .count")
    return int(chip.text_content() or 0) if chip.count() else 0


def _shows(page: Page, number: int) -> None:
    expect(page.locator("#results [data-model]")).to_have_count(number)
    expect(page.locator(".total")).to_have_text(re.compile(rf"^\s*{number} models?,"))
