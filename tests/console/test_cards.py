"""Model cards: the facts that they begin with, and what of the rest is shown, whatever their authors try."""

import time

import pytest

from app.console import cards
from app.domain.cards import split

_BASE = "https://hub.example/acme/tiny/blob/c0ffee/"
_BOX = '<div class="table" tabindex="0" role="group" aria-label="Table">'
_CARD = """---
license: apache-2.0  # open
license_name: "The Licence"
base_model:
- acme/base
- acme/other
library_name: 'transformers'
tags: [a, b]
datasets:
- license
---
# Tiny
"""


def test_the_facts_of_a_card_are_read_and_left_out() -> None:
    facts, text = split(_CARD)
    assert facts == {
        "license": "apache-2.0",
        "license_name": "The Licence",
        "base_model": "acme/base",
        "library_name": "transformers",
    }
    assert text == "# Tiny\n"
    assert split(_CARD.replace("\n", "\r\n"))[0]["base_model"] == "acme/base"
    for without in ("# Tiny", "", "---\nlicense: mit\n", "\n---\nlicense: mit\n---\n"):
        assert split(without) == ({}, without)
    assert split("---\nlicense: [mit, apache-2.0]\n---\n")[0] == {"license": "mit"}
    assert split("---\nlicense:\n---\nx")[0] == {}


def test_markdown_is_rendered_below_the_headings_of_the_page() -> None:
    shown = cards.render("# One\n\n#### Four\n\n| a |\n|---|\n| *b* |\n\n```python\nx = '<b>'\n```\n", _BASE)
    for told in ("<h3>One</h3>", "<h6>Four</h6>", "<td><em>b</em></td>", "x = '&lt;b&gt;'"):
        assert told in shown


def test_what_github_adds_to_markdown_is_shown() -> None:
    shown = cards.render(
        "> [!NOTE]\n> Read *this*.\n\n> [!NOTE] is a word\n\n- [x] done\n- [ ] [open](x)\n- [y]\n\n"
        "As told[^1] and [^two]\n\n[^1]: by *somebody*\n[^two]: else\n",
        _BASE,
    )
    for told in (
        "<p><strong>Note</strong><br>\nRead <em>this</em>.</p>",
        "<p>[!NOTE] is a word</p>",
        "<li>☑ done</li>",
        "<li>☐ <a",
        "<li>[y]</li>",
        "As told<sup>[1]</sup> and <sup>[2]</sup>",
        "<li><p>by <em>somebody</em>",
    ):
        assert told in shown


def test_a_table_is_in_a_box_of_its_own_whoever_wrote_it() -> None:
    for written in ("| a |\n|---|\n| b |\n", "<table><tr><td>b</td></tr></table>"):
        shown = cards.render(written, _BASE)
        assert shown.count(_BOX) == shown.count("</table></div>") == 1


def test_a_table_in_an_attribute_is_no_table() -> None:
    hostile = '<table dir="auto">"><script>alert(1)</script>'
    for attribute in ("href='https://x/{}'", "title='{}'"):
        shown = cards.render(f"<a {attribute.format(hostile)}>x</a>", _BASE)
        assert "<div" not in shown
        assert "<script" not in shown


def test_a_long_card_ends_with_a_block() -> None:
    paragraph, row = "word " * 20 + "\n\n", "| one | two |\n"
    assert cards.beginning(paragraph) == paragraph
    many = cards.beginning(paragraph * cards.LONGEST)
    assert cards.LONGEST - 2 * len(paragraph) < len(many) <= cards.LONGEST
    assert many.rstrip("\n").endswith("word ")
    assert len(many.strip().replace(paragraph.strip(), "").strip()) == 0
    fence = cards.beginning(paragraph * 400 + "```\n" + "\n\nx = 1\n" * cards.LONGEST)
    assert "```" not in fence
    table = cards.beginning("| a | b |\n|---|---|\n" + row * cards.LONGEST)
    assert table.endswith("\n" + row.strip())
    assert len(cards.beginning("a" * 2 * cards.LONGEST)) == cards.LONGEST


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "<img src=https://evil.example/x onerror=alert(1)>",
        "![alert](https://evil.example/x)",
        "![<script>](x)",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt&colon;alert(1))",
        "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
        "<a href=//evil.example/ onclick=alert(1) style='position:fixed' id=main class=button>x</a>",
        "<div hx-get=/console hx-trigger=load data-copy=x data-confirm=x sse-connect=/x>x</div>",
        "<style>body{display:none}</style>",
        "<form action=/console/sign-out method=post><button>x</button><input name=csrf></form>",
        "<iframe src=https://evil.example></iframe><object data=x></object><embed src=x><base href=//evil.example>",
        "<svg><script>alert(1)</script></svg><math><mi xlink:href=javascript:alert(1)>",
        "<meta http-equiv=refresh content='0;url=//evil.example'><link rel=stylesheet href=//evil.example>",
        "<table background=//evil.example/x><td background=//evil.example/x>",
        "<video poster=//evil.example/x src=//evil.example/x></video>",
        "</section></main><h1 id=announcer>x</h1>",
        "<details open ontoggle=alert(1)>x</details>",
    ],
)
def test_nothing_of_a_card_runs_loads_or_changes_the_page(hostile: str) -> None:
    shown = cards.render(f"{hostile}\n\ntext {hostile} text", _BASE).replace(_BOX, "").lower()
    tags = shown.replace("&lt;", "")
    for told in ("<script", "<img", "<style", "<form", "<button", "<input", "<iframe", "<svg", "<math", "<meta", "<link",
                 "<video", "<div", "<main", "</main", "<h1", "<base", "<object", "<embed"):  # fmt: skip
        assert told not in tags, shown
    for told in (
        "hx-",
        "sse-",
        "data-",
        "onerror=",
        "onclick=",
        "ontoggle=",
        "style=",
        "id=",
        "class=",
        "src=",
        "background",
    ):
        assert not any(told in tag for tag in _tags(shown)), shown
    assert "javascript:" not in "".join(_tags(shown))


def test_links_are_whole_and_tell_where_they_lead_nothing() -> None:
    shown = cards.render("[a](LICENSE) [b](https://example.com/x) [c](#there) [d](mailto:a@example.com)", _BASE)
    assert f'href="{_BASE}LICENSE"' in shown
    assert 'href="https://example.com/x"' in shown
    assert shown.count("href=") == 2
    assert shown.count('rel="noopener noreferrer nofollow"') >= 2


@pytest.mark.parametrize("piece", ["[", "> ", "*a **", "![a](", "[^1]", "[^1]: ", "- [ ] ", "<table>", "|a|\n|-|\n"])
def test_a_card_that_is_made_to_take_long_does_not(piece: str) -> None:
    begun = time.process_time()
    cards.render(cards.beginning(piece * cards.LONGEST), _BASE)
    assert time.process_time() - begun < 5


def _tags(text: str) -> list[str]:
    return [part.partition(">")[0] for part in text.split("<")[1:]]
