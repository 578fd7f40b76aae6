"""Shared by the client commands: options, the depot to use, completion, and following a model."""

from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from app.client.commands.options import data_option
from app.client.depot import Depot, Json
from app.client.endpoint import find_place
from app.client.exits import CODES, STOPPED, CannotDo, Failed
from app.client.following import follow
from app.client.names import MOST_NAMES
from app.client.progress import Notes, display
from app.local import default_data
from app.terminal import print_json, say

_Function = TypeVar("_Function", bound=Callable[..., None])

EPILOG = f"\b\nExit codes:\n{CODES}"
_COMPLETES_WITHIN = 1.0
"""Timeout of shell completion, in seconds."""


def depot_options(function: _Function) -> _Function:
    """Add `--url`, `--data` and `--json`."""
    function = click.option("--json", "as_json", is_flag=True, help="Print the API's objects.")(function)
    url_help = "Where the depot is.  [DEPOT_URL; default: this machine's]"
    return click.option("--url", envvar="DEPOT_URL", metavar="URL", help=url_help)(data_option(function))


def with_depot(function: Callable[..., None]) -> Callable[..., None]:
    """Add `depot_options`; pass the function an open `Depot` and `as_json`."""

    @depot_options
    @wraps(function)
    def run(*, url: str | None, data: Path, **given: Any) -> None:
        with Depot(find_place(url, data.expanduser().absolute())) as depot:
            function(depot, **given)

    return run


def complete_model(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete a model's name, for the shell."""
    return _complete(ctx, incomplete, lambda depot: depot.models(limit=MOST_NAMES))


def complete_deployment(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    return _complete(ctx, incomplete, lambda depot: depot.deployments(limit=MOST_NAMES))


def followed(
    depot: Depot,
    model_id: str,
    operation_id: str | None = None,
    *,
    name: str,
    progress: bool = True,
    as_json: bool = False,
) -> Json | None:
    """Follow a model; return its last state, `None` if gone. Ctrl-C ends only this; `wait` resumes it by `name`."""
    try:
        with display() if progress else nullcontext(Notes()) as shown:
            return follow(depot, model_id, shown, operation_id)
    except Failed:
        if as_json:
            with suppress(CannotDo):
                print_json(depot.model(model_id))
        raise
    except KeyboardInterrupt:
        say("", f"The depot goes on with it. To watch it again: modeldepot wait {name}", err=True)
        raise click.exceptions.Exit(STOPPED) from None


def _complete(ctx: click.Context, incomplete: str, ask: Callable[[Depot], list[Json]]) -> list[str]:
    with suppress(CannotDo):
        place = find_place(ctx.params.get("url"), ctx.params.get("data") or default_data())
        with Depot(place, patience=_COMPLETES_WITHIN) as depot:
            names = {one["name"] for one in ask(depot)}
            return sorted(name for name in names if name.startswith(incomplete) and name.isprintable())
    return []
