"""The way from a name to a model: walks whose clicks are counted, and how the add page looks on the way."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.console.browser.conftest import Served
from tests.console.browser.views import Pictures, View, Views
from tests.fakehub.hub import Synthetic

_GGUF, _GATED, _REFUSED = "acme/walked-GGUF", "acme/walked-gated", "acme/walked-refused"
_TOKEN = "hf_of0who0walks0through0the0gate"
_MOST_CLICKS = 6
_COUNT = "addEventListener('pointerdown', event => event.isTrusted && window.clicked(), true)"


@pytest.fixture(scope="module")
def walked(served: Served) -> Iterator[Served]:
    """The repositories of this file."""
    hub = served.hub
    card = {"cardData": {"license": "apache-2.0"}, "downloads": 1_234_567, "likes": 89}
    quants = {f"walked-{name}.gguf": Synthetic(size << 20, 70 + size) for name, size in _QUANTS.items()}
    hub.add(_GGUF, quants | {"README.md": b"# Walked", "mmproj-F16.gguf": Synthetic(1 << 20, 99)}, about=card)
    for seed, name in enumerate((_GATED, _REFUSED)):
        hub.add(name, {"config.json": b"{}", "model.safetensors": Synthetic(1 << 20, 97 + seed)}, gated=True)
    hub.total_rate = None
    yield served
    for model in served.depot.client.get("/ai/model").json()["models"]:
        if "walked" in model["name"]:
            served.depot.client.delete(f"/ai/model/{model['id']}")


_QUANTS = {"Q2_K": 1, "Q3_K_M": 2, "Q4_K_M": 3, "Q5_K_M": 4, "Q8_0": 5}


@pytest.mark.usefixtures("walked")
def test_from_an_address_on_the_clipboard_to_the_line_that_loads_the_model(views: Views) -> None:
    view = views.open("/console")
    page, clicks = view.page, _counted(view)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate("text => navigator.clipboard.writeText(text)", f"https://huggingface.co/{_GGUF}")
    page.get_by_role("link", name="Add a model").click()
    expect(page.locator("input[name=name]")).to_be_focused()
    page.keyboard.press("Control+V")
    expect(page.locator("[data-plan]")).to_contain_text("It fits")
    expect(page.get_by_role("radio", name="Q4_K_M")).to_be_checked()
    page.get_by_text("Q5_K_M").click()
    expect(page.locator("[data-plan] .big")).to_contain_text("5.2 MB in 3 files")
    expect(page.locator("#commands")).to_contain_text("walked-Q5_K_M.gguf")
    page.get_by_role("button", name="Download").click()
    expect(page.locator("#live")).to_have_attribute("data-status", "ready")
    page.get_by_role("button", name="Copy llama.cpp command").click()
    expect(page.get_by_role("button", name="Copied llama.cpp command")).to_be_visible()
    line = page.evaluate("navigator.clipboard.readText()")
    assert re.fullmatch(r"llama-server -m '\S+/walked-Q5_K_M\.gguf' --mmproj '\S+/mmproj-F16\.gguf'", line), line
    assert len(clicks) <= _MOST_CLICKS
    print(f"clicks from the list of models to the copied line: {len(clicks)}")


def test_a_gated_model_is_opened_with_a_token_without_leaving_the_page(walked: Served, views: Views) -> None:
    view = views.open("/console/models/new")
    page, clicks = view.page, _counted(view)
    page.locator("input[name=name]").fill(_GATED)
    plan = page.locator("#plan")
    expect(plan).to_contain_text("is gated")
    accept = plan.get_by_role("link", name="Accept the licence on the Hub")
    with page.expect_popup() as popup:  # in a tab of its own: the form stays
        accept.click()
    popup.value.close()
    walked.hub.account(_TOKEN, accepted=[_GATED, _REFUSED])
    page.get_by_label("Hub token").click()
    page.keyboard.insert_text(_TOKEN)
    expect(plan).to_contain_text("opens the repository")
    expect(page.get_by_label("Hub token")).to_have_value(_TOKEN)
    page.get_by_role("button", name="Download").click()
    expect(page.locator("#live")).to_have_attribute("data-status", "ready")
    assert _TOKEN not in page.content()
    assert len(clicks) <= _MOST_CLICKS
    print(f"clicks from the refusal to the ready model: {len(clicks)}")


def test_a_model_that_a_gate_refused_is_opened_with_a_token_on_its_own_page(walked: Served, views: Views) -> None:
    view = views.open("/console/models/new")
    page = view.page
    page.locator("input[name=name]").fill(_REFUSED)
    page.locator("input[name=name]").press("Enter")
    live = page.locator("#live")
    expect(live).to_have_attribute("data-status", "error")
    expect(live).to_contain_text("then retry with a Hub token of that account")
    clicks = _counted(view)
    with page.expect_popup() as popup:
        page.get_by_role("link", name="Accept its licence on the Hub").click()
    popup.value.close()
    walked.hub.account(_TOKEN, accepted=[_GATED, _REFUSED])
    page.get_by_label("Hub token").click()
    page.keyboard.insert_text(_TOKEN)
    page.get_by_role("button", name="Retry").click()
    expect(live).to_have_attribute("data-status", "ready")
    assert _TOKEN not in page.content()
    assert len(clicks) <= _MOST_CLICKS
    print(f"clicks from a failed model to the ready one: {len(clicks)}")


@pytest.mark.usefixtures("walked")
def test_every_state_of_the_add_page_is_in_order(views: Views, pictures: Pictures) -> None:
    view = views.open("/console/models/new")
    page = view.page
    box = page.locator("input[name=name]")
    box.fill("walked")
    expect(page.locator("#matches li")).to_have_count(3)
    page.locator("#matches").get_by_text(_GGUF).click()
    expect(box).to_have_value(_GGUF)
    expect(page.locator("[data-plan]")).to_be_visible()
    expect(page.locator("#matches [aria-current]")).to_contain_text(_GGUF)
    faults = view.looks(pictures, "add-plan")
    box.fill(_GATED)
    expect(page.locator("#plan")).to_contain_text("is gated")
    faults += view.looks(pictures, "add-gated", ["dark"])
    box.fill("acme/walked-nowhere")
    expect(page.locator("[data-plan]")).to_have_count(0)
    expect(page.locator("#plan .alert")).to_be_visible()
    assert faults == []


def _counted(view: View) -> list[None]:
    """What grows by one with each click from now on, on any page."""
    clicks: list[None] = []
    page: Page = view.page
    page.expose_function("clicked", lambda: clicks.append(None))
    page.add_init_script(_COUNT)
    page.evaluate(_COUNT)
    return clicks
