"""Asks on a terminal which GGUF model of a repository is wanted, before all of them are fetched."""

from contextlib import suppress

import click

from app.client.commands.hub import VARIANT, variant
from app.client.depot import Depot, Json
from app.client.exits import CannotDo
from app.domain import pasted
from app.domain.errors import BadRequest
from app.terminal import say, shown, size, table

_ALL = "all"


def chosen(depot: Depot, body: Json) -> Json:
    """Return the body of a create, of a repository with several quantizations for the one that the user chooses.

    The best default is offered, as the console and Ollama choose it. Nothing is asked if files are chosen already, if
    all are here, or if the Hub does not tell which there are: then the create says why.
    """
    if body["include"] or body["exclude"] or _is_here(depot, body):
        return body
    plan = None
    with suppress(CannotDo):
        plan = depot.plan(body)
    if plan is None or not pasted.is_choice(plan):
        return body
    number = len(plan["variants"])
    say(f"{body['name']} holds {number} GGUF models, {size(plan['bytes-total'])} in all. One is enough to run it:")
    table([VARIANT, *map(variant, plan["variants"])])
    best = plan["variants"][0]
    default = shown(best["quantization"] or best["name"])
    while True:
        answer = click.prompt(f"Which one? Its quantization or name, or {_ALL!r}", default=default, err=True).strip()
        if answer.lower() == _ALL:
            return body
        try:
            one = best if answer == default else pasted.choose(plan["variants"], answer)
            return body | {"include": one["include"]}
        except BadRequest as error:
            say(error.message, err=True)


def _is_here(depot: Depot, body: Json) -> bool:
    """Return whether a model is all of the repository."""
    revision = body["revision"] or "main"
    found = depot.models(name=body["name"])
    return any(not (one["include"] or one["exclude"]) and one["revision"] == revision for one in found)
