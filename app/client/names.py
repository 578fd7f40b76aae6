"""Finds a model or deployment by its id or its name."""

import shlex
from collections.abc import Iterable, Sequence
from uuid import UUID

from app.client.depot import Depot, Json
from app.client.exits import NotThere, Wrong
from app.domain import pasted
from app.domain.errors import BadRequest
from app.domain.keys import NameLimit
from app.domain.pasted import Pasted
from app.domain.states import ModelStatus
from app.terminal import did_you_mean

MOST_NAMES = 10_000
"""Most names searched for a similar one, or for a prefix."""


def find_model(depot: Depot, text: str) -> Json:
    """Return the model with that id, or the only one that the text means. Raises `NotThere`, `Wrong`.

    That is a name, also without its owner or as it is pasted (see `app.domain.pasted`), and `name@revision`.
    """
    if is_id(text):
        return depot.model(text)
    name, _, revision = text.partition("@")
    try:
        meant = pasted.read(name)
    except BadRequest:
        meant = Pasted(name)
    found = [
        model
        for model in named(depot, meant.name)
        if (revision or meant.revision) in {None, "", model["revision"], model.get("follows")}
    ]
    if meant.tag:
        found = [model for model in found if _has(model, meant.tag)]
    if not found:
        known = {model["name"] for model in depot.models(limit=MOST_NAMES)}
        raise NotThere(f"there is no model {text!r}{_hint(text, known)} `modeldepot ls` lists the models there are")
    if len(found) > 1:
        # One that failed before its first byte, such as for a wrong revision, is hardly meant.
        found = [model for model in found if model["status"] != ModelStatus.ERROR or model["downloaded"]] or found
    if len(found) > 1:
        which = (
            f"  {model['id']}  {model['name'] if meant.is_bare else ''} {selection(model)}".rstrip() for model in found
        )
        raise Wrong(f"{len(found)} models are called {text!r}: name the one you mean by its id", *which)
    return found[0]


def named(depot: Depot, name: str, **only: object) -> list[Json]:
    """Return the models with that name; without an owner, of any."""
    if "/" in name:
        return depot.models(name=name, **only)
    models = depot.models(limit=MOST_NAMES, **only)
    return [model for model in models if model["name"].partition("/")[2].lower() == name.lower()]


def limit_of(patterns: Sequence[str]) -> NameLimit:
    """Return the limit to the names that a glob pattern matches, or that a word without wildcards is in."""
    return NameLimit(tuple(pattern if set(pattern) & set("*?[") else f"*{pattern}*" for pattern in patterns))


def matching(found: Sequence[Json], patterns: Sequence[str]) -> list[Json]:
    """Return those within the limit of the patterns; without any, all."""
    limit = limit_of(patterns)
    return [one for one in found if limit.permits(one["name"])]


def find_deployment(depot: Depot, text: str) -> Json:
    """Return the deployment with that id, or the only one with that name. Raises `NotThere`, `Wrong`."""
    if is_id(text):
        return depot.deployment(text)
    found = depot.deployments(name=text)
    if not found:
        known = {deployment["name"] for deployment in depot.deployments(limit=MOST_NAMES)}
        raise NotThere(f"there is no deployment {text!r}{_hint(text, known)} `modeldepot deployments` lists them")
    if len(found) > 1:
        which = (f"  {deployment['id']}  of {deployment['model']['name']}" for deployment in found)
        raise Wrong(f"{len(found)} deployments are called {text!r}: name the one you mean by its id", *which)
    return found[0]


def is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def selection(model: Json) -> str:
    """Return its selection of files as options of `pull`, quoted for a shell; empty for all files of `main`."""
    words = [] if model["revision"] == "main" else ["--revision", model["revision"]]
    words += [word for key in ("include", "exclude") for pattern in model[key] for word in (f"--{key}", pattern)]
    return shlex.join(words)


def _has(model: Json, tag: str) -> bool:
    """Return whether a model may hold that quantization: it is in its patterns, or all files are selected."""
    return not model["include"] or any(tag.lower() in pattern.lower() for pattern in model["include"])


def _hint(text: str, known: Iterable[str]) -> str:
    if "/" not in text:  # a model's name, without its owner
        known = [name.rpartition("/")[2] for name in known]
    return did_you_mean(text, known) or ":"
