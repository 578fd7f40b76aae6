"""Renders model cards, which strangers wrote: no scripts, styles, images or forms, and links that tell the Hub nothing.

markdown-it-py makes HTML of a card; nh3 (ammonia) then leaves only what is listed here.
"""

import re
from collections.abc import Sequence
from html import escape
from typing import Any
from urllib.parse import urljoin, urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from mdit_py_plugins.footnote import footnote_plugin

LONGEST = 60_000
"""Characters of a card that are shown, at most."""
_TAGS = {
    *("p", "br", "hr", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre", "code", "kbd", "samp", "a"),
    *("em", "strong", "b", "i", "s", "del", "sub", "sup", "table", "thead", "tbody", "tr", "th", "td"),
    *("dl", "dt", "dd", "details", "summary"),
}
_DOWN = 2
"""Levels by which headings are lowered, to stand below the page's own."""
_AS_WRITTEN = {tag: {"dir": "auto"} for tag in ("ul", "ol", "table", "blockquote")}
"""In Arabic and Hebrew, a list's marks, for one, are on the right."""
_HTML_TAG = re.compile(r'<(?:[^<>"]|"[^"]*")*>')
"""As nh3 writes them: a `<` in a text is escaped."""
_WRAPPED = {
    '<table dir="auto">': '<div class="table" tabindex="0" role="group" aria-label="Table"><table dir="auto">',
    "</table>": "</table></div>",
}
_ALERT = re.compile(r"\[!(NOTE|TIP|IMPORTANT|WARNING|CAUTION)\][ \t]*(?:\n|\Z)", re.IGNORECASE)
_TASK = re.compile(r"\[([ xX])\](?=\s)")


def beginning(text: str) -> str:
    """Return as much of a card as is shown: whole blocks, or lines of one that is very long."""
    if len(text) <= LONGEST:
        return text
    lines = re.sub(r"\r\n?", "\n", text[: LONGEST + 1]).split("\n")
    blocks = _markdown().disable("inline").parse("\n".join(lines[:-1]))
    last = max((block.map[0] for block in blocks if block.level == 0 and block.map), default=0)
    kept = "\n".join(lines[:last])
    return kept if len(kept) > LONGEST // 2 else "\n".join(lines[:-1]) or text[:LONGEST]


def render(text: str, base: str) -> str:
    """Return a card as HTML that is safe in a page. `base`: what its relative links are relative to."""

    def attribute(tag: str, name: str, value: str) -> str | None:
        return _address(value, base) if (tag, name) == ("a", "href") else value

    cleaned = nh3.clean(
        _markdown().render(text),
        tags=_TAGS,
        attributes={"a": {"href"}, "*": set()},
        attribute_filter=attribute,
        url_schemes={"http", "https"},
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}, **_AS_WRITTEN},
    )
    # A box that scrolls has to be reached by the keyboard.
    return _HTML_TAG.sub(lambda tag: _WRAPPED.get(tag[0], tag[0]), cleaned)


def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": True, "maxNesting": 20}).enable(["table", "strikethrough"])
    markdown.add_render_rule("image", _image)
    for rule in ("heading_open", "heading_close"):
        markdown.add_render_rule(rule, _heading)
    footnote_plugin(markdown, inline=False)
    # No link leads within a card: nothing in it has an id.
    markdown.add_render_rule("footnote_ref", _footnote)
    markdown.add_render_rule("footnote_anchor", lambda *_: "")
    markdown.core.ruler.before("inline", "github", _as_on_github)
    return markdown


def _as_on_github(state: StateCore) -> None:
    """Have its alerts begin with a word in bold, and its tasks with a box."""
    for outer, _, inline in zip(state.tokens, state.tokens[1:], state.tokens[2:], strict=False):
        if inline.type == "inline" and outer.type == "blockquote_open":
            inline.content = _ALERT.sub(lambda found: f"**{found[1].capitalize()}**\\\n", inline.content, count=1)
        elif inline.type == "inline" and outer.type == "list_item_open":
            inline.content = _TASK.sub(lambda found: "☐" if found[1] == " " else "☑", inline.content, count=1)


def _footnote(_self: RendererHTML, tokens: Sequence[Token], place: int, _options: OptionsDict, _env: EnvType) -> str:
    return f"<sup>[{tokens[place].meta['id'] + 1}]</sup>"


def _image(_self: RendererHTML, tokens: Sequence[Token], place: int, _options: OptionsDict, _env: EnvType) -> str:
    """Render what the image shows, in words: fetching it would tell its server who reads the card."""
    return escape(tokens[place].content)


def _heading(self: RendererHTML, tokens: Sequence[Token], place: int, options: OptionsDict, env: EnvType) -> str:
    token = tokens[place]
    token.tag = f"h{min(int(token.tag[1]) + _DOWN, 6)}"
    return self.renderToken(tokens, place, options, env)


def _address(text: str, base: str) -> str | None:
    """Return a link's whole address; None for one into the card itself, or none that a browser should follow."""
    if text.startswith("#"):
        return None
    try:
        address = urljoin(base, text)
        parts: Any = urlsplit(address)
    except ValueError:
        return None
    return address if parts.scheme in {"http", "https"} and parts.netloc else None
