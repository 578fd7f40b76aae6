"""Disk usage of the models: `modeldepot storage usage`.

Files with the same content are stored once: such a file counts as shared for each model that has it.
"""

import argparse
import asyncio
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from app.db.errors import DatabaseUnreachable
from app.db.session import open_database
from app.services import models
from app.settings import SettingsError, load
from app.storage.posix import Storage
from app.terminal import print_json, say, shown, table

_Inodes = Mapping[tuple[int, int], int]
"""(device, inode) to bytes."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes on disk of one model."""

    own: int
    """Freed when the model is deleted."""
    shared: int
    """In published files that other models have, too."""
    arriving: int


def main() -> None:
    parser = argparse.ArgumentParser(prog="modeldepot storage usage")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        settings = load()
        rows = asyncio.run(_models(settings.database_url))
    except SettingsError as error:
        sys.exit(shown(f"modeldepot storage usage: {error}"))
    except DatabaseUnreachable as error:
        sys.exit(f"modeldepot storage usage: {error.explanation} ({error.cause})")
    storage = Storage(settings.storage)
    try:
        usages, total = measure(storage)
    except OSError as error:
        sys.exit(shown(f"modeldepot storage usage: can't read {settings.storage}: {error.strerror}"))
    if options.json:
        print_json({"models": [_in_json(*one) for one in _named(rows, usages)], "total": total, "free": storage.free()})
        return
    lines = [
        (model_id, usage.own, usage.shared, usage.arriving, status or "-", name or "(not in this database)")
        for model_id, name, status, usage in _named(rows, usages)
    ]
    table([("ID", "OWN", "SHARED", "ARRIVING", "STATUS", "NAME"), *lines])
    say("", f"{total} bytes in all, {storage.free()} free")


async def _models(address: str) -> Sequence[Row[Any]]:
    database = open_database(address)
    try:
        async with database.read() as connection:
            return await models.list_all(connection)
    finally:
        await database.close()


def measure(storage: Storage) -> tuple[Mapping[UUID, Usage], int]:
    """Return the usage of every model that has files, and their total in bytes. Raise `OSError`."""
    published, arriving = {}, {}
    for model_id in storage.published_ids() | storage.arriving_ids():
        published[model_id] = _inodes([storage.published(model_id)])
        arriving[model_id] = _inodes(storage.arriving(model_id))
    holders = Counter(inode for inodes in published.values() for inode in inodes)
    usages = {}
    for model_id, inodes in published.items():
        shared = sum(size for inode, size in inodes.items() if holders[inode] > 1)
        # Files linked from a published model need no more space.
        fresh = sum(size for inode, size in arriving[model_id].items() if inode not in holders)
        usages[model_id] = Usage(sum(inodes.values()) - shared, shared, fresh)
    everything = {
        inode: size for found in (published, arriving) for each in found.values() for inode, size in each.items()
    }
    return usages, sum(everything.values())


def _inodes(folders: Sequence[Path]) -> _Inodes:
    found = {}
    for place, names in ((place, names) for folder in folders for place, _, names in os.walk(folder)):
        for name in names:
            try:
                status = Path(place, name).lstat()
            except FileNotFoundError:  # it was moved during the download
                continue
            # A part file has its full length from the start: count its allocated blocks.
            found[status.st_dev, status.st_ino] = min(status.st_size, status.st_blocks * 512)
    return found


def _named(
    rows: Sequence[Row[Any]], usages: Mapping[UUID, Usage]
) -> Iterator[tuple[UUID, str | None, str | None, Usage]]:
    """Yield id, name, status and usage of each model; name and status are `None` if only the storage knows it."""
    known = {row.id: row for row in rows}
    for row in rows:
        yield row.id, row.name, row.status.value, usages.get(row.id, Usage(0, 0, 0))
    for model_id in usages.keys() - known.keys():
        yield model_id, None, None, usages[model_id]


def _in_json(model_id: UUID, name: str | None, status: str | None, usage: Usage) -> dict[str, Any]:
    return {"id": str(model_id), "name": name, "status": status} | asdict(usage)


if __name__ == "__main__":
    main()
