"""Finds a model or deployment by its id or its name."""

import shlex
from difflib import get_close_matches
from uuid import UUID

from app.client.depot import Depot, Json
from app.client.exits import NotThere, Wrong
from app.domain.states import ModelStatus

MOST_NAMES = 10_000
"""Most names searched for a similar one, or for a prefix."""


def find_model(depot: Depot, text: str) -> Json:
    """Return the model with that id, or the only one with that name or `name@revision`. Raises `NotThere`, `Wrong`."""
    if is_id(text):
        return depot.model(text)
    name, _, revision = text.partition("@")
    found = [model for model in depot.models(name=name) if not revision or model["revision"] == revision]
    if not found:
        known = {model["name"] for model in depot.models(limit=MOST_NAMES)}
        raise NotThere(f"there is no model {text!r}{_hint(text, known)} `modeldepot ls` lists the models there are")
    if len(found) > 1:
        # One that failed before its first byte, such as for a wrong revision, is hardly meant.
        found = [model for model in found if model["status"] != ModelStatus.ERROR or model["downloaded"]] or found
    if len(found) > 1:
        which = (f"  {model['id']}  {selection(model)}" for model in found)
        raise Wrong(f"{len(found)} models are called {text!r}: name the one you mean by its id", *which)
    return found[0]


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


def _hint(text: str, known: set[str]) -> str:
    close = get_close_matches(text, known, n=1, cutoff=0.8)
    return f"; did you mean {close[0]!r}?" if close else ":"
