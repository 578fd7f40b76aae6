"""Finds models for the add page: those of the Hub by words, and the one that a name without its owner means."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.api import asking
from app.api.dependencies import Depot
from app.console.session import Form
from app.domain.errors import Refusal
from app.http.keyring import Key
from app.services import published

_MOST = 12
"""Models that a search shows."""
_FEWEST = 2
"""Characters that are worth a search."""


@dataclass(frozen=True, slots=True)
class Matches:
    """What a search found; `problem` says why it could not be made. `rest` follows the words in the box: `:Q4_K_M@v2`."""

    models: Sequence[Mapping[str, Any]]
    rest: str = ""
    problem: str = ""

    def text(self, model: Mapping[str, Any]) -> str:
        """Return what goes into the box for a model that is chosen."""
        return f"{model['name']}{self.rest}"


def words_of(form: Form) -> str:
    """Return what to search the Hub for; empty if the box holds a name, an address, or too little."""
    text = form.get("name", "").strip()
    is_name = "/" in text or len(text) < _FEWEST
    return "" if is_name else re.split("[:@]", text, maxsplit=1)[0]


async def matches(depot: Depot, key: Key, form: Form, words: str) -> Matches:
    """Return the Hub's models with these words in their names."""
    rest = form.get("name", "").strip().removeprefix(words) if words_of(form) else ""
    try:
        return Matches(await asking.search(depot, key, words, _MOST), rest)
    except Refusal as refusal:
        return Matches([], rest, refusal.message)


async def completed(depot: Depot, key: Key, form: Form) -> tuple[Form, Matches | None]:
    """Return (the form with the owner of the only model that its box names, else itself; what else it may mean).

    That is a model which is kept, or one of the Hub's.
    """
    words = words_of(form)
    if not words:
        return form, None
    async with depot.database.read() as connection:
        kept = (await published.named(connection, [words]))[words]
    names = {model.name for model in kept if key.may_read(model.name)}
    found = None if len(names) == 1 else await matches(depot, key, form, words)
    if found:
        names = {str(one["name"]) for one in found.models if _bare(one["name"]).lower() == words.lower()}
    if len(names) != 1:
        return form, found
    return {**form, "name": f"{names.pop()}{form['name'].strip().removeprefix(words)}"}, None


def _bare(name: str) -> str:
    return name.partition("/")[2]
