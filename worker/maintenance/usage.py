"""Disk usage of the models: `modeldepot storage usage`.

Files with the same content are stored once: such a file counts as shared for each model that has it.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

from app.db.errors import DatabaseUnreachable
from app.db.session import open_database
from app.services import models
from app.services.rows import ModelRecord
from app.settings import SettingsError, load
from app.storage import open_store
from app.storage.base import ModelUsage
from app.storage.locations import is_bucket
from app.terminal import amount, print_json, say, shown, table


def main() -> None:
    parser = argparse.ArgumentParser(prog="modeldepot storage usage")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--wide", action="store_true")
    options = parser.parse_args()
    try:
        settings = load()
        rows = asyncio.run(_models(settings.database_url))
    except SettingsError as error:
        sys.exit(shown(f"modeldepot storage usage: {error}"))
    except DatabaseUnreachable as error:
        sys.exit(f"modeldepot storage usage: {error.explanation} ({error.cause})")
    storage = open_store(settings.storage, s3=settings.s3)
    try:
        usages, total = storage.measure()
        free = storage.space().free
    except OSError as error:
        sys.exit(shown(f"modeldepot storage usage: can't read {settings.storage}: {error.strerror}"))
    if options.json:
        print_json({"models": [_in_json(*one) for one in _named(rows, usages)], "total": total, "free": free})
        return
    lines = [
        (
            model_id,
            *map(amount, (usage.own, usage.shared, usage.arriving)),
            status or "-",
            name or "(not in this database)",
        )
        for model_id, name, status, usage in _named(rows, usages)
    ]
    table([("ID", "OWN", "SHARED", "ARRIVING", "STATUS", "NAME"), *lines], wide=options.wide, spare=("ID",))
    if is_bucket(storage.location):
        say("", "In a bucket each model has its own copy of what several have: nothing is shared.")
    say("", f"{amount(total, ' bytes')} in all" + ("" if free is None else f", {amount(free)} free"))


async def _models(address: str) -> Sequence[ModelRecord]:
    database = open_database(address)
    try:
        async with database.read() as connection:
            return await models.list_all(connection)
    finally:
        await database.close()


def _named(
    rows: Sequence[ModelRecord], usages: Mapping[UUID, ModelUsage]
) -> Iterator[tuple[UUID, str | None, str | None, ModelUsage]]:
    """Yield id, name, status and usage of each model; name and status are `None` if only the storage knows it."""
    known = {row.id: row for row in rows}
    for row in rows:
        yield row.id, row.name, row.status.value, usages.get(row.id, ModelUsage(0, 0, 0))
    for model_id in usages.keys() - known.keys():
        yield model_id, None, None, usages[model_id]


def _in_json(model_id: UUID, name: str | None, status: str | None, usage: ModelUsage) -> dict[str, Any]:
    return {"id": str(model_id), "name": name, "status": status} | asdict(usage)


if __name__ == "__main__":
    main()
