"""What the models take on the storage: `modeldepot storage usage`.

Files with the same content are kept once: such a file counts as shared for each model that has it.
"""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import click
from sqlalchemy import Row

from app.db.session import UNREACHABLE, is_unreachable, open_database
from app.services import models
from app.settings import SettingsError, load
from worker.storage import Storage

_Inodes = Mapping[tuple[int, int], int]
"""(device, inode) to bytes."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes on disk of one model."""

    own: int
    """Freed when it is deleted."""
    shared: int
    """Of published files that other models have, too."""
    arriving: int


def main() -> None:
    try:
        settings = load()
        rows = asyncio.run(_models(settings.database_url))
    except SettingsError as error:
        sys.exit(f"modeldepot storage usage: {error}")
    except UNREACHABLE as error:
        if not is_unreachable(error):
            raise
        sys.exit(f"modeldepot storage usage: the database can't be reached ({type(error).__name__}); is it up?")
    storage = Storage(settings.storage)
    try:
        usages, total = measure(storage)
    except OSError as error:
        sys.exit(f"modeldepot storage usage: can't read {settings.storage}: {error.strerror}")
    _print(rows, usages)
    click.echo(f"\n{total} bytes in all, {storage.free()} free")


async def _models(address: str) -> Sequence[Row[Any]]:
    database = open_database(address)
    try:
        async with database.read() as connection:
            return await models.list_all(connection)
    finally:
        await database.close()


def measure(storage: Storage) -> tuple[Mapping[UUID, Usage], int]:
    """The usage of every model that has files, and what all of them take together. Raises `OSError`."""
    published, arriving = {}, {}
    for model_id in storage.model_ids():
        published[model_id] = _inodes(storage.published(model_id))
        arriving[model_id] = _inodes(storage.incoming(model_id))
    holders = Counter(inode for inodes in published.values() for inode in inodes)
    usages = {}
    for model_id, inodes in published.items():
        shared = sum(size for inode, size in inodes.items() if holders[inode] > 1)
        # What is linked from a published model is no byte more.
        fresh = sum(size for inode, size in arriving[model_id].items() if inode not in holders)
        usages[model_id] = Usage(sum(inodes.values()) - shared, shared, fresh)
    everything = {
        inode: size for found in (published, arriving) for each in found.values() for inode, size in each.items()
    }
    return usages, sum(everything.values())


def _inodes(folder: Path) -> _Inodes:
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                status = Path(place, name).lstat()
            except FileNotFoundError:  # it moves while it arrives
                continue
            # A file in flight has its full length from the start: what counts is the blocks it has.
            found[status.st_dev, status.st_ino] = min(status.st_size, status.st_blocks * 512)
    return found


def _print(rows: Sequence[Row[Any]], usages: Mapping[UUID, Usage]) -> None:
    none = Usage(0, 0, 0)
    named = {row.id: (row.name, row.status.value) for row in rows}
    named |= {model_id: ("(not in this database)", "-") for model_id in usages if model_id not in named}
    lines = [("ID", "OWN", "SHARED", "ARRIVING", "STATUS", "NAME")]
    for model_id, (name, status) in named.items():
        usage = usages.get(model_id, none)
        lines.append((str(model_id), str(usage.own), str(usage.shared), str(usage.arriving), status, name))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip())


if __name__ == "__main__":
    main()
