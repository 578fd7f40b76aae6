"""What is typed, chosen and still asked for on the add page, with a mouse, by the keyboard alone and without a script."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.console.browser.conftest import Served
from tests.console.browser.views import DESKTOP, PHONE, Pictures, Views
from tests.fakehub.hub import Fault, Synthetic

_GGUF = "acme/picked-GGUF"
_OVERLAPS = """([one, others]) => {
    const box = (element) => {
        const range = document.createRange();
        range.selectNodeContents(element);
        return range.getBoundingClientRect();
    };
    const a = box(document.querySelector(one));
    return [...document.querySelectorAll(others)].filter(other => getComputedStyle(other).visibility !== "hidden")
        .filter(other => {
            const b = box(other);
            return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
        }).map(other => other.textContent);
}"""


@pytest.fixture(scope="module")
def picked(served: Served) -> Iterator[Served]:
    """The repositories of this file."""
    quants = {
        f"picked-{quant}.gguf": Synthetic(size << 20, 50 + size) for quant, size in (("Q3_K_S", 1), ("Q4_K_M", 2))
    }
    about = {"cardData": {"license": "apache-2.0"}}
    card = b"---\nlicense: apache-2.0\n---\n# Picked card"
    served.hub.add(_GGUF, quants | {"README.md": card, "LICENSE": b"Be good."}, about=about)
    served.hub.add("acme/picked-other", {"config.json": b"{}"})
    served.hub.total_rate = None
    yield served
    for model in served.depot.client.get("/ai/model").json()["models"]:
        if "picked" in model["name"]:
            served.depot.client.delete(f"/ai/model/{model['id']}")


@pytest.mark.usefixtures("picked")
def test_patterns_uncheck_the_choice_and_a_choice_empties_the_patterns(views: Views) -> None:
    page = views.open("/console/models/new").page
    page.locator("#name").fill(_GGUF)
    expect(page.get_by_role("radio", name="Q4_K_M")).to_be_checked()
    page.get_by_text("Advanced").click()
    patterns = page.locator("[name=include]")
    patterns.fill("*Q3_K_S*")
    expect(page.locator("[name=variant]:checked")).to_have_count(0)
    expect(page.locator("#commands")).to_contain_text("*Q3_K_S*")
    expect(page.locator("[data-plan] .big")).to_contain_text("1.0 MB in 1 file")
    page.locator(".variants").get_by_text("Q4_K_M").click()
    expect(patterns).to_have_value("")
    expect(page.locator("[data-plan] .big")).to_contain_text("2.1 MB in 3 files")
    expect(page.get_by_role("radio", name="Q4_K_M")).to_be_checked()


@pytest.mark.usefixtures("picked")
def test_beside_a_plan_no_search_says_that_it_found_nothing(views: Views, pictures: Pictures) -> None:
    view = views.open("/console/models/new")
    page = view.page
    page.locator("#name").fill("picked-of-nobody")
    nothing = page.locator("main").get_by_text("The Hub finds no model")
    expect(nothing).to_be_visible()
    expect(page.locator("#announcer")).to_contain_text("The Hub finds no model")
    pictures.take(page, "add-nothing")
    page.locator("#name").fill(_GGUF)
    expect(page.locator("[data-plan]")).to_be_visible()
    expect(nothing).to_have_count(0)
    pictures.take(page, "add-named")
    page.locator("#name").fill("picked-of-nobody")
    expect(nothing).to_be_visible()
    page.locator("#name").fill("acme/picked-nowhere")
    expect(page.locator("#plan .alert")).to_be_visible()
    expect(nothing).to_have_count(0)


@pytest.mark.usefixtures("picked")
def test_a_model_is_found_chosen_and_added_by_keys_alone_with_its_licence_and_card(views: Views) -> None:
    page = views.open("/console/models/new").page
    page.keyboard.type("picked:q4_k_m")
    hits = page.locator("#matches a")
    expect(hits).to_have_count(2)
    for key, focused in (
        ("ArrowDown", hits.first),
        ("ArrowDown", hits.last),
        ("ArrowDown", hits.last),
        ("ArrowUp", hits.first),
        ("ArrowUp", page.locator("#name")),
        ("ArrowDown", hits.first),
    ):
        page.keyboard.press(key)
        expect(focused).to_be_focused()
    if _GGUF not in (hits.first.get_attribute("data-choose") or ""):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#name")).to_have_value(f"{_GGUF}:q4_k_m")
    expect(page.locator("#name")).to_be_focused()
    page.keyboard.press("Enter")  # at once, before its plan is there
    expect(page.locator("#live")).to_have_attribute("data-status", "ready")
    expect(page.locator("main")).to_contain_text("apache-2.0")
    expect(page.locator("#card")).to_contain_text("Picked card")


@pytest.mark.parametrize("size", [PHONE, (390, 844), DESKTOP])
def test_while_the_hub_is_asked_nothing_lies_over_it_and_the_old_plan_is_dim(
    picked: Served, views: Views, size: tuple[int, int]
) -> None:
    for number, (old, told) in enumerate(
        (("", "Choose a model"), (_GGUF, "The files"), ("acme/picked-no", "shows no"))
    ):
        # One page for each: a look that is replaced by another is told as an error.
        page = views.open("/console/models/new", size=size).page
        box, asking = page.locator("#name"), page.locator("#asking span")
        box.fill(old)
        expect(page.locator("#plan")).to_contain_text(told)
        expect(asking).to_be_hidden()
        picked.hub.misbehave(Fault("stall", on="any", after_bytes=None, times=None))
        try:
            box.fill(f"acme/picked-{size[0]}-{number}")
            expect(asking).to_be_visible()
            assert page.evaluate(_OVERLAPS, ["#asking span", "#plan :is(h2, p, b)"]) == []
            if old == _GGUF:
                expect(page.locator("[data-plan]")).to_have_css("opacity", "0.4")
            expect(page.get_by_role("button", name="Download")).to_be_visible()
        finally:
            picked.hub.behave()


@pytest.mark.usefixtures("picked")
def test_without_a_script_a_model_is_found_planned_and_added(views: Views) -> None:
    page = views.open("/console/models/new", scripts=False).page
    page.locator("#name").fill("picked")
    page.locator("#name").press("Enter")
    page.locator("#matches a").filter(has_text=_GGUF).click()
    expect(page.get_by_role("radio", name="Q4_K_M")).to_be_checked()
    page.get_by_role("radio", name="Q3_K_S").check()
    page.get_by_role("button", name="Look").click()
    expect(page.locator("[data-plan] .big")).to_contain_text("1.0 MB in 3 files")
    page.get_by_role("button", name="Download").click()
    _until_ready(page)
    expect(page.get_by_role("link", name="Its page on the Hub")).to_be_visible()
    expect(page.get_by_text("Reading its files…")).to_be_hidden()


def _until_ready(page: Page) -> None:
    """Load it again until it is: without a script it does not change by itself."""
    for _ in range(100):
        if page.locator("#live").get_attribute("data-status") == "ready":
            return
        page.reload()
    raise AssertionError(page.locator("#live").text_content())
