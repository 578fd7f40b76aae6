"""Model cards: the facts that they begin with, and what of the rest is shown, whatever their authors try."""

import time

import pytest

from app.console import cards
from app.domain.cards import split

_BASE = "https://hub.example/acme/tiny/blob/c0ffee/"
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
    shown = cards.render(f"{hostile}\n\ntext {hostile} text", _BASE).lower()
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


@pytest.mark.parametrize("piece", ["[", "> ", "*a **", "![a]("])
def test_a_card_that_is_made_to_take_long_does_not(piece: str) -> None:
    begun = time.process_time()
    cards.render(piece * (cards.LONGEST // len(piece)), _BASE)
    assert time.process_time() - begun < 5


def _tags(text: str) -> list[str]:
    return [part.partition(">")[0] for part in text.split("<")[1:]]
