"""What several commands share: options, groups with aliases, and the examples below a command's help."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
from click.core import ParameterSource

from app.local import default_data
from app.terminal import did_you_mean

_Function = TypeVar("_Function", bound=Callable[..., None])
_SYNONYMS = (("ls", "list"), ("rm", "remove", "delete"), ("pull", "download"), ("prioritise", "prioritize"))
"""Names of one command: each group has one of them, and takes the others, too."""


class Group(click.Group):
    """A group that takes synonyms of its commands, and suggests a command for what is close to one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        return super().resolve_command(ctx, [self._meant(ctx, args[0]), *args[1:]])

    def _meant(self, ctx: click.Context, name: str) -> str:
        known = {command: command for command in self.list_commands(ctx)}
        for synonyms in _SYNONYMS:
            if found := next((name for name in synonyms if name in known), None):
                known |= dict.fromkeys(synonyms, found)
        if name in known or name.startswith("-") or ctx.resilient_parsing:
            return known.get(name, name)
        return ctx.fail(f"No such command {name!r}{did_you_mean(name, known) or '.'}")


def epilog(*examples: str) -> str:
    """Return the end of a command's help."""
    lines = "".join(f"\n    {example}" for example in examples)
    return f"\b\nExamples:{lines}\n\nExit codes: modeldepot help exit-codes"


def data_option(function: _Function) -> _Function:
    """Add `--data`: the folder of `modeldepot up`."""
    return click.option(
        "--data",
        type=click.Path(path_type=Path),
        envvar="DEPOT_DATA",
        default=default_data,
        metavar="FOLDER",
        help="Where everything is kept.  [DEPOT_DATA; default: ~/.local/share/modeldepot]",
    )(function)


def names_data(context: click.Context) -> bool:
    """Return whether the user names a data folder, and so this machine's depot."""
    return context.get_parameter_source("data") in {ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT}


def either(other: str) -> Callable[[click.Context, click.Parameter, bool], bool]:
    """Return a flag's callback that refuses it beside the one called `other`, which comes first or second."""

    def check(ctx: click.Context, _parameter: click.Parameter, value: bool) -> bool:
        if value and ctx.params.get(other):
            raise click.UsageError("give either --quiet or --json: the one prints ids only, the other all")
        return value

    return check


def json_option(function: _Function) -> _Function:
    """Add `--json`, as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead.", callback=either("quiet"))(
        function
    )


def patterns_argument(function: _Function) -> _Function:
    """Add the names that a list is limited to, as `patterns`."""
    return click.argument("patterns", metavar="[PATTERN]...", nargs=-1)(function)


def limit_option(default: int) -> Callable[[_Function], _Function]:
    """Add `--limit`: the most rows of a list."""
    return click.option(
        "--limit",
        type=click.IntRange(1, 100_000),
        metavar="NUMBER",
        default=default,
        show_default=True,
        help="How many, at most.",
    )


def wide_option(function: _Function) -> _Function:
    """Add `--wide`."""
    return click.option("--wide", is_flag=True, help="Cut and leave out nothing to fit the terminal.")(function)


def yes_option(function: _Function) -> _Function:
    """Add `--yes`."""
    return click.option("-y", "--yes", is_flag=True, help="Don't ask. On a terminal it asks otherwise.")(function)


def quiet_option(function: _Function) -> _Function:
    """Add `--quiet`."""
    return click.option("-q", "--quiet", is_flag=True, help="Print the ids only.", callback=either("as_json"))(function)
