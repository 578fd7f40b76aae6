"""A model card as it is laid out: wide tables, Arabic, and one that is too long."""

from playwright.sync_api import expect

from tests.console.browser.conftest import Served
from tests.console.browser.views import Pictures, Views

_NAME = "acme/carded"
_NAMES = ("Model", "MMLU", "GSM8K", "HumanEval", "MBPP", "MATH", "BBH", "ARC")
_TABLE = "\n".join(
    ["|".join(("", *row, "")) for row in (_NAMES, ["---"] * 8, ("Qwen2.5-0.5B-Instruct", *["47.5"] * 7))]
)
_WIDE = "\n".join(["|".join(("", *row, "")) for row in (["column"] * 30, ["---"] * 30, ["a value"] * 30)])
_CARD = f"""# Carded

> [!NOTE]
> Read the paper.[^1]

- [x] a task

{_TABLE}

{_WIDE}

مرحبا بكم في هذا النموذج

- قائمة طويلة

[^1]: Some paper.

"""
_LINES = """cells => cells.map(cell => {
    const text = document.createRange();
    text.selectNodeContents(cell);
    return new Set([...text.getClientRects()].map(line => line.top)).size;
})"""
_ON_THE_RIGHT = """one => {
    const text = document.createRange();
    text.selectNodeContents(one);
    const [line, box] = [text.getBoundingClientRect(), one.getBoundingClientRect()];
    return box.right - line.right < 2 && line.left - box.left > 50;
}"""


def test_a_card_s_tables_scroll_by_themselves_and_arabic_is_on_the_right(
    served: Served, views: Views, pictures: Pictures
) -> None:
    served.hub.add(_NAME, {"config.json": b"{}", "README.md": _CARD.encode()})
    view = views.open(f"/console/models/{_ready(served, _NAME)}", size=(390, 800))
    card = view.page.locator(".card-text")
    expect(card.get_by_text("Note", exact=True)).to_be_visible()
    boxes = card.get_by_role("group", name="Table")
    for width in (390, 1280):
        view.page.set_viewport_size({"width": width, "height": 800})
        assert view.width() <= width
        assert set(card.locator("thead th").evaluate_all(_LINES)) == {1}
        assert boxes.last.evaluate("box => box.scrollWidth > box.clientWidth")
    for text, mark in (("مرحبا", "p"), ("قائمة", "li")):
        shown = card.locator(mark, has_text=text)
        assert shown.evaluate(_ON_THE_RIGHT), text
    view.tab_to(boxes.first)
    assert view.looks(pictures, "model-card") == []


def test_a_card_that_is_too_long_leads_to_the_whole_on_the_hub(served: Served, views: Views) -> None:
    name = f"{_NAME}-long"
    repo = served.hub.add(name, {"config.json": b"{}", "README.md": b"A line.\n\n" * 9000})
    page = views.open(f"/console/models/{_ready(served, name)}").page
    (commit,) = repo.commits
    whole = page.locator(".card-text").get_by_role("link", name="all of it on the Hub")
    expect(whole).to_have_attribute("href", f"{served.hub.endpoint}/{name}/blob/{commit}/README.md")


def _ready(served: Served, name: str) -> str:
    operation = served.depot.create(name)
    assert served.depot.wait(operation["id"])["state"] == "success"
    model_id: str = operation["reference"]["id"]
    return model_id
