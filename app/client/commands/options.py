"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from app.local import default_data

_Function = TypeVar("_Function", bound=Callable[..., None])


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


def json_option(function: _Function) -> _Function:
    """Add `--json`, as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead.")(function)
