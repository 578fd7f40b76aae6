"""Verifies that published files are unchanged: `modeldepot storage verify`."""

import argparse
import asyncio
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from app.client.exits import Wrong
from app.client.tokens import Token, find_token
from app.db.errors import DatabaseUnreachable
from app.db.session import Database, open_database
from app.domain.errors import Refusal
from app.domain.states import ModelStatus
from app.sealing import Sealer
from app.services import audit, creates, files, models
from app.services.rows import ModelRecord
from app.settings import Settings, SettingsError, load, split_keys
from app.storage import open_store
from app.storage.base import Store
from app.terminal import amount, did_you_mean, many, print_json, say, shown
from app.wakeup import Wakeup, connect

_NOT_THERE = 5
"""The exit code, the same for all commands."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result for one model."""

    model: ModelRecord
    status: str
    """ok, wrong, or skipped because the model is not ready."""
    problems: Sequence[str] = ()
    files: int = 0
    size: int = 0
    operation: UUID | None = None
    """The repair, which fetches wrong files again."""
    refusal: str = ""
    """Why there is no repair."""

    def lines(self) -> Iterator[str]:
        model = f"{self.model.id}  {self.model.name}:"
        if self.status == "skipped":
            yield f"skipped  {model} its status is {self.model.status}"
        for problem in self.problems:
            yield f"WRONG    {model} {problem}"
        if self.status == "ok":
            yield f"ok       {model} {many(self.files, 'file')}, {amount(self.size, ' bytes')}"
        if self.operation:
            yield f"repair   {model} a worker fetches what is wrong. To wait for it: modeldepot wait {self.operation}"
        if self.refusal:
            yield f"skipped  {model} {self.refusal}"

    def in_json(self) -> dict[str, Any]:
        model = {"id": str(self.model.id), "name": self.model.name, "status": self.model.status}
        repair = str(self.operation) if self.operation else None
        found = {"result": self.status, "problems": list(self.problems), "files": self.files, "size": self.size}
        return model | found | {"repair-operation": repair, "repair-refused": self.refusal or None}


def main() -> None:
    parser = argparse.ArgumentParser(prog="modeldepot storage verify")
    parser.add_argument("--repair", action="store_true")
    parser.add_argument("--deep", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--token-file", type=Path)
    parser.add_argument("--token-stdin", action="store_true")
    parser.add_argument("model", nargs="?")
    options = parser.parse_args()
    try:
        token = find_token(options.token_file, stdin=options.token_stdin) if options.repair else None
        sys.exit(asyncio.run(_run(load(), options, token)))
    except Wrong as error:
        sys.exit(shown(f"modeldepot storage verify: {error.message}"))
    except SettingsError as error:
        sys.exit(shown(f"modeldepot storage verify: {error}"))
    except DatabaseUnreachable as error:
        sys.exit(f"modeldepot storage verify: {error.explanation} ({error.cause})")
    except OSError as error:
        sys.exit(shown(f"modeldepot storage verify: the storage can't be read: {error.strerror}"))


async def _run(settings: Settings, options: argparse.Namespace, token: Token | None) -> int:
    """Verify the selected models. Return the exit code."""
    name: str | None = options.model
    database, storage = open_database(settings.database_url), open_store(settings.storage, s3=settings.s3)
    verdicts = []
    try:
        async with database.read() as connection:
            rows = await models.list_all(connection)
        chosen = [row for row in rows if name in {None, row.name, str(row.id)}]
        chosen = chosen or [row for row in rows if name and row.name.lower() == name.lower()]
        if name and not chosen:
            hint = did_you_mean(name, {row.name for row in rows}) or ":"
            say(
                f"Error: there is no model {name!r}{hint} `modeldepot storage usage` lists the models there are",
                err=True,
            )
            return _NOT_THERE
        for model in chosen:
            verdict = await _verify(database, storage, model, deep=options.deep)
            if options.repair and verdict and verdict.problems:
                verdict = await _repair(database, settings, verdict, token)
            if verdict:
                verdicts.append(verdict)
                if not options.json:
                    say(*verdict.lines())
    finally:
        await database.close()
    if options.json:
        print_json({"models": [verdict.in_json() for verdict in verdicts]})
    return 1 if any(verdict.problems for verdict in verdicts) else 0


async def _verify(database: Database, storage: Store, model: ModelRecord, *, deep: bool) -> Verdict | None:
    """Verify one model. Return `None` if its files were removed meanwhile."""
    if model.status != ModelStatus.READY:
        return Verdict(model, "skipped")
    async with database.read() as connection:
        rows = await files.of(connection, model.id)
    recorded = {row.path: (row.size, row.sha256) for row in rows}
    wrong = await asyncio.to_thread(storage.check, model.id, recorded, deep=deep)
    async with database.read() as connection:
        if not await models.is_ready(connection, model.id):
            return None
    return Verdict(model, "wrong" if wrong else "ok", wrong, len(rows), sum(row.size for row in rows))


async def _repair(database: Database, settings: Settings, verdict: Verdict, token: Token | None) -> Verdict:
    """Request a repair. Return the verdict with the operation or the refusal."""
    operation_id = uuid4()
    sealer = Sealer(split_keys(settings.secret_key))
    sealed = sealer.seal(token.value, belongs_to=str(operation_id)) if token else None
    try:
        async with database.begin() as connection:
            operation = await creates.repair(
                connection,
                verdict.model.id,
                operation_id=operation_id,
                sealed_token=sealed,
                deadline=settings.operation_deadline,
            )
            await audit.accept(connection, audit.by_shell("repair-model"), operation)
    except Refusal as error:
        return replace(verdict, refusal=error.message)
    wakeup = Wakeup(connect(settings.redis_url))
    await wakeup.send()
    await wakeup.close()
    return replace(verdict, operation=operation.id)


if __name__ == "__main__":
    main()
