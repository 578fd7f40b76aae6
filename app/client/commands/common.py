"""Shared by the client commands: the depot to use, several names, completion, and following a model."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from app.client.commands.options import data_option, json_option, names_data
from app.client.contexts import LOCAL, Place, load
from app.client.depot import Depot, Json
from app.client.endpoint import find_place
from app.client.exits import STOPPED, CannotDo, Failed, InTheWay
from app.client.following import follow
from app.client.names import MOST_NAMES
from app.client.progress import Notes, display
from app.local import default_data
from app.terminal import CommandError, can_ask, print_json, say, shown

_Function = TypeVar("_Function", bound=Callable[..., None])

_COMPLETES_WITHIN = 1.0
"""Timeout of shell completion, in seconds."""


def depot_options(function: _Function) -> _Function:
    """Add `--url`, `--context`, `--data` and `--json`."""
    function = json_option(function)
    context_help = "A depot of `modeldepot contexts`. Default: the one in use."
    function = click.option("--context", metavar="NAME", help=context_help, shell_complete=complete_context)(function)
    url_help = "Where the depot is.  [DEPOT_URL; default: the context in use, or this machine's]"
    return click.option("--url", envvar="DEPOT_URL", metavar="URL", help=url_help)(data_option(function))


def with_depot(function: Callable[..., None]) -> Callable[..., None]:
    """Add `depot_options`; pass the function an open `Depot` and `as_json`."""

    @depot_options
    @wraps(function)
    def run(*, url: str | None, context: str | None, data: Path, **given: Any) -> None:
        with Depot(chosen_place(url, context, data)) as depot:
            function(depot, **given)

    return run


def chosen_place(url: str | None, context: str | None, data: Path) -> Place:
    """Return the depot that the options of the command mean. Raises `CannotDo`."""
    given = click.get_current_context()
    if context and given.get_parameter_source("url") is ParameterSource.COMMANDLINE:
        raise click.UsageError("give either --url or --context")
    return find_place(url, data.expanduser().absolute(), context, own=names_data(given))


class Attempts:
    """Work on several names: a failure is told and the others go on. A failure of a single name is raised."""

    def __init__(self, names: Sequence[str]) -> None:
        self.several = len(names) > 1
        self._code = 0

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        try:
            yield
        except CannotDo as error:
            if not self.several:
                raise
            CannotDo(*f"{shown(name)}: {error.message}".split("\n")).show()
            self._code = self._code or error.exit_code

    def found(self, names: Iterable[str], find: Callable[[str], Json]) -> dict[str, Json]:
        """Return by its id what `find` returns for each name."""
        found = {}
        for name in names:
            with self.of(name):
                one = find(name)
                found[one["id"]] = one
        return found

    def print_json(self, title: str, results: Sequence[Json]) -> None:
        """Print the result of a single name, or those of several in a list that is called `title`."""
        print_json({title: results} if self.several else results[0])

    def finish(self) -> None:
        """End the command with the first failure's exit code, if something failed."""
        if self._code:
            raise click.exceptions.Exit(self._code)


@contextmanager
def as_typed(text: str, model: Json) -> Iterator[None]:
    """Name the model in what the depot refuses as it was typed; the depot knows it by its id."""
    try:
        yield
    except InTheWay as error:
        raise InTheWay(re.sub(f"[Mm]odel {model['id']}", lambda _: text, error.message)) from None


def ask_before_removal(kind: str, each: Collection[object]) -> None:
    """On a terminal, show what is to be removed, a line each, and ask for consent. Raises `CommandError` without it."""
    if not each or not can_ask():
        return
    say(*each, err=True)
    what = "it" if len(each) == 1 else f"these {len(each)} {kind}"
    if not click.confirm(f"Delete {what}?", err=True):
        raise CommandError("nothing was deleted")


def complete_context(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    return [*[LOCAL] * LOCAL.startswith(incomplete), *complete_login(ctx, parameter, incomplete)]


def complete_login(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a context that may be forgotten."""
    with suppress(CannotDo):
        return [name for name in load().places if name.startswith(incomplete) and name.isprintable()]
    return []


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
        with display() if progress else nullcontext(Notes()) as where:
            return follow(depot, model_id, where, operation_id)
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
        data, context = ctx.params.get("data") or default_data(), ctx.params.get("context")
        place = find_place(ctx.params.get("url"), data, context, own=names_data(ctx))
        with Depot(place, patience=_COMPLETES_WITHIN) as depot:
            names = {one["name"] for one in ask(depot)}
            return sorted(name for name in names if name.startswith(incomplete) and name.isprintable())
    return []
