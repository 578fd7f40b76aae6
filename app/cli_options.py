"""Options that several commands share, and how they print."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import click

from app.own_depot import default_data

_Function = TypeVar("_Function", bound=Callable[..., None])


def data_option(function: _Function) -> _Function:
    """`--data`: the folder of `modeldepot up`."""
    return click.option(
        "--data",
        type=click.Path(path_type=Path),
        envvar="DEPOT_DATA",
        default=default_data,
        metavar="FOLDER",
        help="Where everything is kept.  [DEPOT_DATA; default: ~/.local/share/modeldepot]",
    )(function)


def table(lines: Sequence[Sequence[str]]) -> None:
    """Print `lines`, the first of which is the titles, in columns."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(_padded(line, widths)).rstrip())


def _padded(line: Iterable[str], widths: Sequence[int]) -> Iterable[str]:
    return (word.ljust(width) for word, width in zip(line, widths, strict=True))
