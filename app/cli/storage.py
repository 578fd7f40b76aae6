"""`modeldepot storage …`: the space that models take, and the integrity of their files.

The worker's package handles the files, so each command execs a module of it.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn
from uuid import UUID

import click

from app.cli.settings import settings_in
from app.client.commands.options import Group, data_option, epilog, json_option, wide_option

_models = click.argument("models", metavar="[ID]...", type=click.UUID, nargs=-1)


@click.group(cls=Group, epilog=epilog("modeldepot storage usage", "modeldepot storage verify --repair"))
def storage() -> None:
    """Look after the files of the models."""


@storage.command(
    epilog=epilog(
        "modeldepot storage verify",
        "modeldepot storage verify acme/chat --repair --token-file ~/.cache/huggingface/token",
    )
)
@data_option
@json_option
@click.option("--deep", is_flag=True, help="In a bucket, read every file. In a folder they are read in any case.")
@click.option("--repair", is_flag=True, help="Have a worker fetch again what is wrong.")
@click.option("--token-file", type=click.Path(path_type=Path), help="A file with the Hub token that a repair needs.")
@click.option("--token-stdin", is_flag=True, help="Read that token from standard input.")
@click.argument("model", required=False, metavar="[NAME-or-ID]")
def verify(
    data: Path,
    model: str | None,
    token_file: Path | None,
    *,
    deep: bool,
    repair: bool,
    token_stdin: bool,
    as_json: bool,
) -> None:
    """Compare published files with their recorded checksums.

    These are all, or those of one model. In a folder every file is read. In a bucket a file that has the size and the
    ETag with which it was published counts as unchanged, and only another one is read; --deep reads all. The exit code
    is 1 when something is wrong, and 5 when there is no such model. A model under repair stays ready, at its path: a
    worker fetches what is wrong beside it and then swaps it in, file by file. A repair that fails leaves the model as
    it was. For a gated or private model it takes the Hub token: from HF_TOKEN, a file or standard input.
    """
    words = ["--deep"] * deep + ["--repair"] * repair + ["--json"] * as_json + ["--token-stdin"] * token_stdin
    words += [f"--token-file={token_file}"] if token_file else []
    _become("worker.maintenance.verify", data, *words, *(["--", model] if model else []))


@storage.command(epilog=epilog("modeldepot storage usage", "modeldepot storage usage --json"))
@data_option
@json_option
@wide_option
def usage(data: Path, *, as_json: bool, wide: bool) -> None:
    """Show how many bytes each model takes.

    These are its own, and those that it shares with others.
    """
    _become("worker.maintenance.usage", data, *["--json"] * as_json, *["--wide"] * wide)


@storage.command(epilog=epilog("modeldepot storage check"))
@data_option
def check(data: Path) -> None:
    """Compare what the storage holds with what the database says. No file is read: that is `verify`'s part.

    It lists ready models without a folder, folders and partial downloads without a model, and what is in the trash. The
    exit code is 1 when something differs.
    """
    _become("worker.maintenance.inventory", data, "check")


@storage.command(epilog=epilog("modeldepot storage adopt --all"))
@data_option
@click.option("--all", "every", is_flag=True, help="Every folder that the database has no model of.")
@_models
def adopt(data: Path, models: Sequence[UUID], *, every: bool) -> None:
    """Make models of published folders that the database does not know.

    That is for after a restore, or the loss of the database. Each is read and compared with the manifest that lies
    beside it in the storage, in depot/ID.json.
    """
    _become("worker.maintenance.inventory", data, "adopt", *_chosen(models, every=every))


@storage.command(epilog=epilog("modeldepot storage prune --all", "modeldepot storage prune --all --yes --now"))
@data_option
@click.option("--all", "every", is_flag=True, help="All that the database has no model of.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--now", is_flag=True, help="Remove it for good, and what is in the trash of it.")
@_models
def prune(data: Path, models: Sequence[UUID], *, every: bool, yes: bool, now: bool) -> None:
    """Take away files that the database has no model of.

    These are partial downloads and published folders, which go into the trash, where `restore` finds them for
    DEPOT_TRASH_RETENTION.
    """
    words = ["--yes"] * yes + ["--now"] * now
    _become("worker.maintenance.inventory", data, "prune", *words, *_chosen(models, every=every))


@storage.command(epilog=epilog("modeldepot storage restore 2f1c8a4e-0c3b-4f6e-9a37-5d1e6b7c8f90"))
@data_option
@click.argument("models", metavar="ID...", type=click.UUID, nargs=-1, required=True)
def restore(data: Path, models: Sequence[UUID]) -> None:
    """Put back what housekeeping or `prune` took away.

    Where its model is gone, too, it makes that again.
    """
    _become("worker.maintenance.inventory", data, "restore", *map(str, models))


@storage.command(
    epilog=epilog(
        "modeldepot storage copy --to s3://models/depot", "modeldepot storage copy --to file:///media/disk/depot --deep"
    )
)
@data_option
@click.option("--to", required=True, metavar="LOCATION", help="s3://bucket/prefix or file:///folder.")
@click.option("--endpoint", help="The address of that object store, if it is not DEPOT_S3_ENDPOINT.")
@click.option("--region", help="The region of that bucket, if it is not DEPOT_S3_REGION.")
@click.option("--key-file", type=click.Path(path_type=Path), help="A file with ID:SECRET of a key for it.")
@click.option("--deep", is_flag=True, help="Read what is there already, too, and copy again what differs.")
def copy(data: Path, to: str, endpoint: str | None, region: str | None, key_file: Path | None, *, deep: bool) -> None:
    """Copy every ready model into a bucket or a folder.

    The depot goes on working. Each file is compared with its checksum as it is read, and again in the copy. What is
    there already is not copied again: run it as often as you like, also after it was interrupted. Models that were
    deleted here go to the copy's trash. The exit code is 1 when a model was not copied.

    To change to the copy, stop the workers, run this once more, and restart all with DEPOT_STORAGE set to it. On
    another site, a depot whose DEPOT_STORAGE is the copy takes up its models with `modeldepot storage adopt --all`.
    """
    words = [f"--to={to}"] + ["--deep"] * deep
    words += [f"--endpoint={endpoint}"] * bool(endpoint) + [f"--region={region}"] * bool(region)
    words += [f"--key-file={key_file}"] if key_file else []
    _become("worker.maintenance.copying", data, *words)


@storage.command(epilog=epilog("modeldepot storage accept"))
@data_option
def accept(data: Path) -> None:
    """Make the database know the storage that is mounted now.

    That takes the place of the one that it knew, for a storage that was replaced on purpose. Models whose folders are
    not there are put in error within the hour, the others are at their new paths at once.
    """
    _become("worker.maintenance.inventory", data, "accept")


def _chosen(models: Sequence[UUID], *, every: bool) -> list[str]:
    if every == bool(models):
        raise click.UsageError("Name models by their ids, or give --all.")
    return ["--all"] if every else [str(model) for model in models]


def _become(module: str, data: Path, *words: str) -> NoReturn:
    settings_in(data)
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *words])  # noqa: S606  # our own words and a name
