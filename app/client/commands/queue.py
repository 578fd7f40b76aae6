"""`modeldepot pause`, `resume` and `prioritise`: which models are fetched, and which first."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import click

from app.client.commands.common import Attempts, as_typed, complete_model, with_depot
from app.client.commands.options import epilog
from app.client.depot import Depot, Json
from app.client.names import arriving, find_model
from app.client.progress import describe
from app.domain.states import ModelStatus
from app.terminal import print_json, say

_Function = TypeVar("_Function", bound=Callable[..., None])


def _models_argument(function: _Function) -> _Function:
    return click.argument("models", metavar="NAME|ID...", nargs=-1, required=True, shell_complete=complete_model)(
        function
    )


@click.command(epilog=epilog("modeldepot pause meta-llama/Llama-3.1-8B"))
@with_depot
@_models_argument
def pause(depot: Depot, models: Sequence[str], *, as_json: bool) -> None:
    """Stop fetching models, and keep what arrived. `modeldepot resume` goes on from there.

    Other models take their slots. What waits for a file that a paused model was fetching fetches it itself.
    """
    _update(depot, models, {"paused": True}, as_json=as_json)


@click.command(epilog=epilog("modeldepot resume meta-llama/Llama-3.1-8B"))
@with_depot
@_models_argument
def resume(depot: Depot, models: Sequence[str], *, as_json: bool) -> None:
    """Go on with models that are paused, from what arrived and in their old place of the queue."""
    _update(depot, models, {"paused": False}, as_json=as_json)


@click.command(
    epilog=epilog(
        "modeldepot prioritise meta-llama/Llama-3.1-8B",
        "modeldepot prioritise unsloth/gemma-3-270m-it-GGUF --priority -1",
    )
)
@with_depot
@_models_argument
@click.option(
    "--priority",
    type=click.IntRange(-100, 100),
    metavar="NUMBER",
    default=1,
    show_default=True,
    help="Higher is fetched first.",
)
def prioritise(depot: Depot, models: Sequence[str], priority: int, *, as_json: bool) -> None:
    """Have models fetched before others, or with a negative priority after them.

    A level counts as an hour of waiting, so no model waits for ever: one of priority 2 goes before those of priority 0
    that have not waited two hours longer. What is being fetched already is not stopped.
    """
    _update(depot, models, {"priority": priority}, as_json=as_json)


def _update(depot: Depot, models: Sequence[str], body: Json, *, as_json: bool) -> None:
    """Change the models."""
    attempts, changed = Attempts(models), []
    for text in models:
        with attempts.of(text):
            found = find_model(depot, text, arriving)
            with as_typed(text, found):
                model = depot.update_model(found["id"], body)
            changed.append(model)
            if not as_json:
                say(f"{model['name']}: {_told(model)}", err=True)
    if as_json:
        print_json({"models": changed})
    attempts.finish()


def _told(model: Json) -> str:
    if model["status"] == ModelStatus.READY and not model.get("deleting"):
        return "ready; there is nothing to fetch"
    return describe(model) + (f", priority {model['priority']}" if model["priority"] else "")
