"""Whether published files are still what was published: `modeldepot storage verify`."""

import argparse
import asyncio
import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from sqlalchemy import Row

from app import queue
from app.db.session import UNREACHABLE, Database, is_unreachable, open_database
from app.domain.errors import Refusal
from app.domain.states import ModelStatus
from app.queue import Doorbell
from app.services import models
from app.settings import Settings, SettingsError, load
from worker.storage import Storage


def main() -> None:
    parser = argparse.ArgumentParser(prog="modeldepot storage verify")
    parser.add_argument("--repair", action="store_true")
    parser.add_argument("model", nargs="?")
    options = parser.parse_args()
    try:
        sys.exit(asyncio.run(_run(load(), options.model, repair=options.repair)))
    except SettingsError as error:
        sys.exit(f"modeldepot storage verify: {error}")
    except UNREACHABLE as error:
        if not is_unreachable(error):
            raise
        sys.exit(f"modeldepot storage verify: the database can't be reached ({type(error).__name__}); is it up?")


async def _run(settings: Settings, name: str | None, *, repair: bool) -> int:
    """The exit code."""
    database, storage = open_database(settings.database_url), Storage(settings.storage)
    try:
        async with database.read() as connection:
            chosen = [row for row in await models.list_all(connection) if name in {None, row.name, str(row.id)}]
        if name and not chosen:
            click.echo(f"There is no model {name!r}. `modeldepot storage usage` lists the models there are.")
            return 1
        wrong = [model for model in chosen if not await _verify(database, storage, model)]
        if repair and wrong:
            await _repair(database, settings, wrong)
    finally:
        await database.close()
    return 1 if wrong else 0


async def _verify(database: Database, storage: Storage, model: Row[Any]) -> bool:
    """Print what is found; false if something is wrong."""
    if model.status != ModelStatus.READY:
        click.echo(f"skipped  {model.id}  {model.name}: it is {model.status}")
        return True
    try:
        async with database.read() as connection:
            rows = await models.files(connection, model.id)
    except Refusal:  # deleted, or no longer ready
        return True
    recorded = {row.path: (row.size, row.sha256) for row in rows}
    wrong = await asyncio.to_thread(check, storage.published(model.id), recorded)
    async with database.read() as connection:
        if not await models.is_ready(connection, model.id):  # its files went while they were read
            return True
    for problem in wrong:
        click.echo(f"WRONG    {model.id}  {model.name}: {problem}")
    if not wrong:
        click.echo(f"ok       {model.id}  {model.name}: {len(rows)} files, {sum(row.size for row in rows)} bytes")
    return not wrong


async def _repair(database: Database, settings: Settings, wrong: Sequence[Row[Any]]) -> None:
    bell = Doorbell(queue.connect(settings.redis_url))
    for model in wrong:
        try:
            async with database.begin() as connection:
                operation = await models.refetch(connection, model.id, deadline=settings.operation_deadline)
        except Refusal as error:
            click.echo(f"skipped  {model.id}  {model.name}: {error.message}")
            continue
        await bell.ring()
        click.echo(f"repair   {model.id}  {model.name}: a worker fetches it again, operation {operation.id}")
    await bell.close()


def check(folder: Path, recorded: Mapping[str, tuple[int, str]]) -> list[str]:
    """What is wrong with the files in `folder`, by their recorded sizes and SHA-256; a line each."""
    problems = []
    for path, (size, sha256) in sorted(recorded.items()):
        try:
            with (folder / path).open("rb") as file:
                found = os.fstat(file.fileno()).st_size
                if found != size:
                    problems.append(f"{path} has {found} bytes instead of {size}")
                elif hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    problems.append(f"{path} differs from its checksum")
        except FileNotFoundError:
            problems.append(f"{path} is missing")
        except OSError as error:
            problems.append(f"{path} can't be read: {error.strerror}")
    there = {Path(place, name).relative_to(folder).as_posix() for place, _, names in os.walk(folder) for name in names}
    return problems + [f"{path} is not one of its files" for path in sorted(there - set(recorded))]


if __name__ == "__main__":
    main()
