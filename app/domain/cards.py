"""Reads a model card: the README.md of a repository, which begins with facts in YAML."""

import re
from collections.abc import Mapping

_FRONT = re.compile(r"\A\ufeff?---[ \t]*\r?\n(?P<facts>.*?)^---[ \t]*\r?$\n?", re.DOTALL | re.MULTILINE)
# Of YAML, only what cards use for these: a word, or a list of which the first counts.
_FACT = re.compile(
    r"^(?P<name>license|license_name|license_link|base_model|library_name|pipeline_tag):"
    r"[ \t]*(?:\r?\n[ \t]*-[ \t]+)?\[?[ \t]*(?P<value>\"[^\"\n]*\"|'[^'\n]*'|[^\s,\]#\"'][^,\]#\n]*)",
    re.MULTILINE,
)
_LONGEST = 200


def split(text: str) -> tuple[Mapping[str, str], str]:
    """Return (the facts that a card begins with, by their names there; the card without them)."""
    front = _FRONT.match(text)
    if front is None:
        return {}, text
    found = {fact["name"]: fact["value"].strip().strip("\"'") for fact in _FACT.finditer(front["facts"])}
    return {name: value[:_LONGEST] for name, value in found.items() if value}, text[front.end() :]
