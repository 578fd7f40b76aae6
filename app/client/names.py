"""Finds a model or deployment by its id or its name."""

import shlex
from collections.abc import Callable, Hashable, Iterable, Sequence
from uuid import UUID

from app.client.depot import Depot, Json
from app.client.exits import CannotDo, NotThere, Wrong
from app.domain import gguf, pasted
from app.domain.errors import BadRequest
from app.domain.keys import NameLimit
from app.domain.pasted import Pasted
from app.domain.repositories import is_card
from app.domain.states import UNDER_WAY, ModelStatus
from app.terminal import did_you_mean

MOST_NAMES = 10_000
"""Most names searched for a similar one, or for a prefix."""
Choice = Callable[[Sequence[Json]], list[Json]]
"""Chooses among the models that a name fits."""
_SLASHES = 2
"""What has fewer is no address."""


def find_model(depot: Depot, text: str, choose: Choice = list) -> Json:
    """Return the model with that id, or the one that the text means. Raises `CannotDo`.

    What `pull` of the same text selects is meant. Of a name alone, also without its owner, the only model is meant that
    has it, and with `@REVISION` the only one of that. Of several, that which `choose` leaves is meant.
    """
    if is_id(text):
        return depot.model(text)
    try:
        meant = read(depot, text)
    except BadRequest:
        meant = Pasted(text)
    kept = named(depot, meant.name)
    found = _selected(depot, kept, meant)
    if not found and kept:
        raise NotThere(f"there is no model {text!r}, but:", *_lines(kept))
    if not found:
        known = {model["name"] for model in depot.models(limit=MOST_NAMES)}
        raise NotThere(f"there is no model {text!r}{_hint(text, known)} `modeldepot ls` lists the models there are")
    if len(found) > 1:
        # One that failed before its first byte, such as for a wrong revision, is hardly meant.
        found = [model for model in found if model["status"] != ModelStatus.ERROR or model["downloaded"]] or found
    found = choose(found)
    if len(found) > 1:
        raise Wrong(f"{len(found)} models are called {text!r}: name the one you mean by its id", *_lines(found))
    return found[0]


def newest(models: Sequence[Json]) -> list[Json]:
    """Return those of the models that no other one is an update of: of each selection of a branch the newest, if ready."""
    found: dict[Hashable, Json] = {}
    for model in sorted(models, key=_progress):
        selected = model["name"], _branch(model), frozenset(model["include"]), frozenset(model["exclude"])
        found[selected] = model
    return list(found.values())


def arriving(models: Sequence[Json]) -> list[Json]:
    """Return those of the models that are being fetched; if none is, the `newest`."""
    return [model for model in models if model["status"] in UNDER_WAY] or newest(models)


def read(depot: Depot, text: str) -> Pasted:
    """Return what was typed or pasted; the depot says which Hub's addresses it takes. Raises `BadRequest`."""
    try:
        return pasted.read(text)
    except BadRequest:
        if text.count("/") < _SLASHES:
            raise
    try:
        hub = depot.hub()
    except NotThere:  # an older depot
        hub = ""
    return pasted.read(text, hub)


def named(depot: Depot, name: str, **only: object) -> list[Json]:
    """Return the models with that name; without an owner, of any. Case counts only if one has exactly that name."""
    if "/" in name and (found := depot.models(name=name, **only)):
        return found
    models = depot.models(limit=MOST_NAMES, **only)
    whole = "/" in name
    return [one for one in models if (one["name"] if whole else one["name"].partition("/")[2]).lower() == name.lower()]


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
        every = depot.deployments(limit=MOST_NAMES)
        found = [one for one in every if one["name"].lower() == text.lower()]
    if not found:
        known = {deployment["name"] for deployment in every}
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


def label(model: Json) -> str:
    """Return what names this model only, for a command line."""
    return str(model["id"] if selection(model) else model["name"])


def _branch(model: Json) -> str:
    """Return what `pull` was asked for: an update is of a commit, and was asked for by a branch."""
    branch: str = model.get("follows") or model["revision"]
    return branch


def _progress(model: Json) -> tuple[bool, bool, str]:
    """Return the key that sorts models as the depot has them answer for a branch: the last one does."""
    return model["status"] == ModelStatus.READY, bool(model.get("follows")), model["created-at"]


def _selected(depot: Depot, kept: Sequence[Json], meant: Pasted) -> list[Json]:
    """Return those of the models of a name that are meant; all of a name without its owner that several have."""
    if len({model["name"] for model in kept}) > 1:
        return [*kept]
    revision = meant.revision or ("main" if meant.include or meant.tag else None)
    kept = [model for model in kept if revision in {None, model["revision"], _branch(model)}]
    if meant.tag:
        return _tagged(depot, kept, meant.tag)
    if not meant.include:
        return kept
    return [model for model in kept if set(model["include"]) == set(meant.include) and not model["exclude"]]


def _tagged(depot: Depot, kept: Sequence[Json], tag: str) -> list[Json]:
    """Return the models that hold nothing but what a tag means in their repository.

    The Hub is only asked where that takes its other files, such as for `latest`.
    """
    held = [(model, variant) for model in kept if (variant := gguf.only(_paths(depot, model)))]
    if exact := [(model, variant) for model, variant in held if variant.is_exactly(tag)]:
        # If a repository has a projector, a tag means the model with it.
        return [model for model, variant in exact if variant.projector] or [model for model, _ in exact]
    held = [(model, variant) for model, variant in held if gguf.tagged([variant.path], tag)]
    if not held:
        return []
    model, _ = held[0]
    try:
        plan = depot.plan({"name": model["name"], "revision": model["revision"]})
        chosen = pasted.choose(plan["variants"], tag)
    except BadRequest:
        return []
    except CannotDo as error:
        which = _lines([model for model, _ in held])
        raise NotThere(f"what {tag!r} means is not known: {error.message}. Name the one you mean:", *which) from None
    return [model for model, variant in held if [*variant.paths] == chosen["files"]]


def _paths(depot: Depot, model: Json) -> Sequence[str]:
    """Return the paths of a model's files if they were selected, as far as they are known, but for its card's."""
    if not model["include"]:
        return ()
    if model["status"] == ModelStatus.READY and not model.get("deleting"):
        return [file["path"] for file in depot.files(model["id"]) if not is_card(file["path"])]
    return pasted.paths_of(model["include"]) or ()


def _lines(models: Sequence[Json]) -> list[str]:
    """Return a line of each model, with its id and by what it can be told: a name that may be pasted, if it has one."""
    names = [pasted.name_of(model["name"], model["revision"], model["include"]) for model in models]
    told = [
        (name if name and names.count(name) == 1 else f"{model['name']} {selection(model) or '(all files)'}")
        + (f" (an update of {model['follows']})" if model.get("follows") else "")
        for model, name in zip(models, names, strict=True)
    ]
    return [f"  {model['id']}  {one}" for model, one in zip(models, told, strict=True)]


def _hint(text: str, known: Iterable[str]) -> str:
    if "/" not in text:  # a model's name, without its owner
        known = [name.rpartition("/")[2] for name in known]
    return did_you_mean(text, known) or ":"
