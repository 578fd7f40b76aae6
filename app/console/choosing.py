"""What the add page's form means, and the plan of what it asks for.

The form has one box, `name`, for words to search, a name or an address; `variant` is one of the plan's GGUF models, and
`planned` tells that there was none to choose: both with the box's text that they were shown for. Patterns that are typed
win over a variant, which may only be the default.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.api import asking, changes
from app.api.bodies import CreateModel
from app.api.dependencies import Depot
from app.console.forms import filled, patterns
from app.console.session import Form
from app.domain import pasted
from app.domain.errors import BadRequest, Forbidden, NoAnswer, NotFound
from app.domain.pasted import Pasted
from app.http.keyring import Key

_PATIENCE = 10.0
"""Seconds for all that one look asks the Hub."""
_CHOOSE = "Which quantizations it has is not known: name one by patterns, such as *Q4_K_M*, or try again later."


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a form asks for. `tag` is a pasted quantization for which `include` is not known yet.

    `is_chosen`: whether the user chose the files, so that no default is chosen for them; `is_typed`: by patterns. `note` is
    that of what was pasted.
    """

    text: str
    """What the box holds."""
    name: str
    revision: str | None
    include: Sequence[str] | None
    exclude: Sequence[str] | None
    token: str
    tag: str | None
    is_chosen: bool
    is_typed: bool
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
    """The plan of what a form asks for."""

    wanted: Wanted
    plan: Mapping[str, Any]

    @property
    def is_whole(self) -> bool:
        return not self.wanted.include and not self.wanted.exclude

    @property
    def is_other(self) -> bool:
        """Whether what was pasted is none of the variants, such as one file without what belongs to it."""
        mine = set(self.wanted.include or ())
        return (
            bool(mine)
            and not self.wanted.is_typed
            and all(mine != set(one["include"]) for one in self.plan["variants"])
        )

    def value(self, include: Sequence[str]) -> str:
        """Return the form's value for a choice of files."""
        return json.dumps([self.wanted.text, list(include)])


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
    """Return what the form asks for, with the files that its plan chooses. Raises `Refusal`."""
    found = wanted(form, depot.hub)
    if found.is_chosen or (form.get("planned") == found.text and not found.tag):
        return found
    try:
        return (await planned(depot, key, found)).wanted
    except (NotFound, Forbidden):
        if found.tag:
            raise
    except NoAnswer as refusal:
        if found.tag or "gguf" in found.name.lower():
            raise NoAnswer(f"{refusal.message} {_CHOOSE}", after=refusal.after) from None
    # There is nothing to choose among: the download says what is wrong, and can be tried again.
    return found


async def planned(depot: Depot, key: Key, wanted: Wanted) -> Planned:
    """Return the plan; of a repository of GGUF models, for the one that is asked for or the best default.

    Raises `Refusal`, after 10 seconds at most.
    """
    try:
        async with asyncio.timeout(_PATIENCE):
            plan = await _plan(depot, key, wanted)
            if wanted.tag or _needs_choice(plan, wanted):
                chosen = pasted.choose(_selected(plan), wanted.tag or "latest")
                wanted = replace(wanted, include=chosen["include"], tag=None, is_chosen=True)
                plan = await _plan(depot, key, wanted)
    except TimeoutError:
        raise NoAnswer(f"The Hub did not answer within {_PATIENCE:.0f} seconds: try again later.") from None
    return Planned(wanted, plan)


def _wanted(form: Form, meant: Pasted) -> Wanted:
    text = form.get("name", "").strip()
    typed, variant = patterns(form.get("include", "")), _variant(form, text)
    include = typed or (variant if variant is not None else list(meant.include) or None)
    return Wanted(
        text=text,
        name=meant.name,
        revision=form.get("revision") or meant.revision,
        include=include,
        exclude=patterns(form.get("exclude", "")),
        token=form.get("token", ""),
        tag=meant.tag if include is None else None,
        is_chosen=include is not None,
        is_typed=bool(typed),
        note=meant.note if variant is None and not typed else "",
    )


async def _plan(depot: Depot, key: Key, wanted: Wanted) -> Mapping[str, Any]:
    body = filled(CreateModel, wanted.words)
    return await asking.plan(depot, key, changes.selected(body, depot.hub), body.huggingface_token)


def _needs_choice(plan: Mapping[str, Any], wanted: Wanted) -> bool:
    """Return whether all of it would be several quantizations of one model, of which people want one."""
    return not wanted.is_chosen and pasted.is_choice(plan)


def _selected(plan: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the variants that the patterns of the form leave."""
    paths = {file["path"] for file in plan["files"]}
    return [one for one in plan["variants"] if paths.issuperset(one["files"])]


def _variant(form: Form, text: str) -> list[str] | None:
    """Return the patterns of the chosen variant; None if none is chosen, or one for another text in the box."""
    try:
        found = json.loads(form.get("variant", ""))
    except (ValueError, RecursionError):
        return None
    match found:
        case [str(shown), list(include)] if shown == text and all(isinstance(one, str) for one in include):
            return include
    return None
