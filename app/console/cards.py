"""Renders model cards, which strangers wrote: no scripts, styles, images or forms, and links that tell the Hub nothing.

markdown-it-py makes HTML of a card; nh3 (ammonia) then leaves only what is listed here.
"""

from collections.abc import Sequence
from html import escape
from typing import Any
from urllib.parse import urljoin, urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

LONGEST = 60_000
"""Characters of a card that are shown."""
_TAGS = {
    *("p", "br", "hr", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre", "code", "kbd", "samp", "a"),
    *("em", "strong", "b", "i", "s", "del", "sub", "sup", "table", "thead", "tbody", "tr", "th", "td"),
    *("dl", "dt", "dd", "details", "summary"),
}
_DOWN = 2
"""Levels by which headings are lowered, to stand below the page's own."""


def render(text: str, base: str) -> str:
    """Return a card as HTML that is safe in a page. `base`: what its relative links are relative to."""

    def attribute(tag: str, name: str, value: str) -> str | None:
        return _address(value, base) if (tag, name) == ("a", "href") else value

    return nh3.clean(
        _markdown().render(text[:LONGEST]),
        tags=_TAGS,
        attributes={"a": {"href"}},
        attribute_filter=attribute,
        url_schemes={"http", "https"},
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )


def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": True, "maxNesting": 20}).enable(["table", "strikethrough"])
    markdown.add_render_rule("image", _image)
    for rule in ("heading_open", "heading_close"):
        markdown.add_render_rule(rule, _heading)
    return markdown


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
