"""What the add page's form means, and what the Hub tells of it: models found by name, or the plan of a download.

The form has one box, `name`, for words to search, a name or an address; `variant` is one of the plan's GGUF models, with
the name that it was shown for, as JSON.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.api import asking, changes
from app.api.dependencies import Depot
from app.api.schemas import CreateModel
from app.console.forms import filled, patterns
from app.console.session import Form
from app.domain import pasted
from app.domain.errors import BadRequest, NoAnswer
from app.domain.pasted import Pasted
from app.domain.repositories import Selection
from app.http.keyring import Key
from app.services import models
from app.services.rows import StandingModel

FOUND = 12
"""Most models that a search shows."""
_PATIENCE = 10.0
"""Seconds for all that one look asks the Hub."""
_FEWEST = 2
"""Characters that are worth a search."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a form asks for. `tag` is a pasted quantization for which `include` is not known yet.

    `is_chosen`: whether the user chose the files, so that no default is chosen for them. `note` is that of what was pasted.
    """

    name: str
    revision: str | None
    include: Sequence[str] | None
    exclude: Sequence[str] | None
    token: str
    tag: str | None
    is_chosen: bool
    note: str

    @property
    def words(self) -> Mapping[str, Any]:
        """The same by the API's names."""
        return {
            "name": self.name,
            "revision": self.revision,
            "include": self.include or None,
            "exclude": self.exclude,
            "huggingface-token": self.token,
        }


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan of what a form asks for; `standing` is the model with this selection that there is already."""

    wanted: Wanted
    plan: Mapping[str, Any]
    standing: StandingModel | None

    @property
    def is_whole(self) -> bool:
        return not self.wanted.include and not self.wanted.exclude

    def value(self, include: Sequence[str]) -> str:
        """Return the form's value for a choice of files."""
        return json.dumps([self.wanted.name, list(include)])


def words_of(form: Form) -> str:
    """Return what to search the Hub for; empty if the box holds a name, an address, or too little."""
    text = form.get("name", "").strip()
    is_name = "/" in text or len(text) < _FEWEST
    return "" if is_name else text.partition(":")[0]


def wanted(form: Form, hub: str) -> Wanted:
    """Return what the form asks for. Raises `BadRequest` for what is neither a name nor an address."""
    return _wanted(form, pasted.read(form.get("name", ""), hub))


def guessed(form: Form, hub: str) -> Wanted:
    """Return the same of a form that may still be being typed."""
    try:
        return wanted(form, hub)
    except BadRequest:
        return _wanted(form, Pasted(form.get("name", "").strip()))


async def resolved(depot: Depot, key: Key, form: Form) -> Wanted:
    """Return what the form asks for, with the files of a pasted quantization. Raises `Refusal`."""
    found = wanted(form, depot.hub)
    return (await planned(depot, key, found)).wanted if found.tag else found


async def planned(depot: Depot, key: Key, wanted: Wanted) -> Planned:
    """Return the plan; of a repository of GGUF models, for the one that is asked for or the best default.

    Raises `Refusal`, after 10 seconds at most.
    """
    try:
        async with asyncio.timeout(_PATIENCE):
            selection, plan = await _plan(depot, key, wanted)
            if wanted.tag or _needs_choice(plan, wanted):
                chosen = pasted.choose(plan["variants"], wanted.tag or "latest")
                wanted = replace(wanted, include=chosen["include"], tag=None, is_chosen=True)
                selection, plan = await _plan(depot, key, wanted)
    except TimeoutError:
        raise NoAnswer(f"The Hub did not answer within {_PATIENCE:.0f} seconds: try again later.") from None
    async with depot.database.read() as connection:
        standing = await models.of_selection(connection, selection.fingerprint)
    return Planned(wanted, plan, standing)


def _wanted(form: Form, meant: Pasted) -> Wanted:
    typed, variant = patterns(form.get("include", "")), _variant(form, meant.name)
    include = variant if variant is not None else typed or list(meant.include) or None
    is_as_pasted = variant is None and not typed
    return Wanted(
        name=meant.name,
        revision=form.get("revision") or meant.revision,
        include=include,
        exclude=patterns(form.get("exclude", "")),
        token=form.get("token", ""),
        tag=meant.tag if is_as_pasted else None,
        is_chosen=include is not None,
        note=meant.note if is_as_pasted else "",
    )


async def _plan(depot: Depot, key: Key, wanted: Wanted) -> tuple[Selection, Mapping[str, Any]]:
    body = filled(CreateModel, wanted.words)
    selection = changes.selected(body, depot.hub)
    return selection, await asking.plan(depot, key, selection, body.huggingface_token)


def _needs_choice(plan: Mapping[str, Any], wanted: Wanted) -> bool:
    """Return whether all of it would be several quantizations of one model, of which people want one."""
    return not wanted.is_chosen and pasted.is_choice(plan)


def _variant(form: Form, name: str) -> list[str] | None:
    """Return the patterns of the chosen variant; None if none is chosen, or one of another repository."""
    try:
        found = json.loads(form.get("variant", ""))
    except (ValueError, RecursionError):
        return None
    match found:
        case [str(shown), list(include)] if shown == name and all(isinstance(one, str) for one in include):
            return include
    return None
