"""Names of others: what would change how a text beside them reads is written out, on every page."""

from types import SimpleNamespace

import pytest
from fastapi import Request
from markupsafe import Markup

from app.console.lists import Listing
from app.console.pages import Pages
from app.console.words import unbroken, visible, whole

_BACKWARDS = "model\u202egpj.exe"


@pytest.mark.parametrize(
    "text",
    ["\u202egpj.exe", "\u2066x", "\u200f", "\u200b", "\ufeff", "\x1b[31m", "\x9b", "\u2028", "\U000e0041", "\udc80"],
)
def test_what_hides_or_turns_text_is_written_out(text: str) -> None:
    shown = visible(f"a{text}b")
    assert shown.isprintable()
    assert shown.startswith("a\\")
    assert shown.endswith("b")


def test_what_is_harmless_is_left_alone() -> None:
    for text in (
        "Größe 大 é",
        "مرحبا",
        "a\nb\tc",
        "می‌خواهم",
        "👩‍💻",
        "12\N{NO-BREAK SPACE}GB",
        Markup("\u202e"),
        12,
        None,
    ):
        assert visible(text) is text or visible(text) == text


def test_a_file_that_is_named_backwards_is_shown_as_it_is_stored() -> None:
    files = [SimpleNamespace(path=_BACKWARDS, size=1, sha256="a" * 64)]
    request = Request({"type": "http", "path": "/", "query_string": b"", "headers": []})
    page = Pages().template("files.html").render(files=files, list=Listing(request, sorts=("path", "size")))
    assert "\u202e" not in page
    assert page.count(r"model\u202egpj.exe") == 2


def test_a_command_is_copied_as_it_is() -> None:
    page = (
        Pages().template("commands.html").render(lines=[SimpleNamespace(title="vLLM", text=f"cat '{_BACKWARDS}' <x>")])
    )
    assert page.count(_BACKWARDS) == 1
    assert f'data-copy="cat &#39;{_BACKWARDS}&#39; &lt;x&gt;"' in page
    assert r"<code>cat &#39;model\u202egpj.exe&#39; &lt;x&gt;</code>" in page


def test_the_words_of_a_command_stay_whole() -> None:
    assert unbroken("vllm serve /a-b --x <c>\n  -d 'e-f'") == (
        'vllm serve <span class="word">/a-b</span> <span class="word">--x</span> &lt;c&gt;\n'
        '  <span class="word">-d</span> <span class="word">&#39;e-f&#39;</span>'
    )
    assert whole(32768) == "32,768"
