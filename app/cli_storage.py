"""`modeldepot storage …`: what the models take, and whether their files are still what they were.

The worker's package knows the files, so each command becomes a process of it.
"""

import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from app.cli_options import data_option, json_option
from app.cli_settings import settings_in


@click.group()
def storage() -> None:
    """Look at the files of the models."""


@storage.command()
@data_option
@json_option
@click.option("--repair", is_flag=True, help="Have a worker fetch again what is wrong.")
@click.argument("model", required=False, metavar="[NAME-or-ID]")
def verify(data: Path, model: str | None, *, repair: bool, as_json: bool) -> None:
    """Read every published file, or those of one model, and compare it with its recorded checksum.

    The exit code is 1 when something is wrong, and 5 when there is no such model. A model under repair is not ready
    until it is whole again; its good files are kept. The files of a gated or private model need its token: where the
    repair is refused, send the create again with a huggingface-token.
    """
    words = ["--repair"] * repair + ["--json"] * as_json + (["--", model] if model else [])
    _become("worker.verify", data, *words)


@storage.command()
@data_option
@json_option
def usage(data: Path, *, as_json: bool) -> None:
    """Show how many bytes each model takes: its own, and those that it shares with others."""
    _become("worker.usage", data, *["--json"] * as_json)


def _become(module: str, data: Path, *words: str) -> NoReturn:
    settings_in(data)
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *words])  # noqa: S606  # our own words and a name
