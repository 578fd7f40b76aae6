"""Copies all ready models into another storage, while the depot works: `modeldepot storage copy`."""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

from app.db.errors import DatabaseUnreachable
from app.db.session import Database, open_database
from app.depot.volume import VolumeAway, mark_of_copy, told
from app.domain.errors import OperationError
from app.services import holdings, models, storages
from app.settings import Settings, SettingsError, load
from app.storage import open_store
from app.storage.base import Attempt, Store
from app.storage.locations import S3Options, is_bucket
from app.storage.manifests import File, Manifest
from app.storage.names import label_of
from app.terminal import amount, many, say, shown, size
from worker.maintenance.marking import meet
from worker.maintenance.orphans import ready
from worker.maintenance.transfer import Transfer

_EVERY = 10.0
"""Seconds between two lines about a model that is being copied."""
_FOLDER = "file://"
_WRONG = 2
"""The exit code for a wrong command line or setting, the same for all commands."""


class CannotBegin(Exception):
    """Nothing may be copied there. The message says why, and what to do."""


def main() -> None:
    """Exit with code 1 if a model was not copied, and with 2 for a wrong target."""
    parser = argparse.ArgumentParser(prog="modeldepot storage copy")
    parser.add_argument("--to", required=True)
    parser.add_argument("--endpoint")
    parser.add_argument("--region")
    parser.add_argument("--key-file", type=Path)
    parser.add_argument("--deep", action="store_true")
    options = parser.parse_args()
    try:
        settings = load()
        target = _target(settings, options)
        done = asyncio.run(_run(settings, target, deep=options.deep))
    except (SettingsError, CannotBegin) as error:
        say(f"modeldepot storage copy: {error}", err=True)
        sys.exit(_WRONG)
    except VolumeAway as error:
        sys.exit(shown(f"modeldepot storage copy: {error}"))
    except DatabaseUnreachable as error:
        sys.exit(f"modeldepot storage copy: {error.explanation} ({error.cause})")
    except OSError as error:
        sys.exit(
            shown(f"modeldepot storage copy: {options.to} can't be used: {told(error)}. What was copied is kept: repair "
                  "that, and run this again.")
        )  # fmt: skip
    sys.exit(0 if done else 1)


def _target(settings: Settings, options: argparse.Namespace) -> Store:
    """Return the store to copy to. Raises `CannotBegin`."""
    s3 = replace(
        settings.s3,
        endpoint=options.endpoint or settings.s3.endpoint,
        region=options.region or settings.s3.region,
    )
    if options.key_file:
        s3 = _with_key(s3, options.key_file)
    location = options.to.removeprefix(_FOLDER)
    if not is_bucket(location) and not Path(location).is_absolute():
        raise CannotBegin(f"--to must be s3://bucket/prefix or file:///folder, and not {options.to}")
    try:
        return open_store(location, keep=settings.trash_retention, s3=s3)
    except ValueError as error:
        raise CannotBegin(f"--to is wrong: {error}") from None


def _with_key(options: S3Options, file: Path) -> S3Options:
    try:
        key, separator, secret = file.read_text().strip().partition(":")
    except OSError as error:
        raise CannotBegin(f"{file} can't be read: {error.strerror}") from None
    if not separator or not key or not secret:
        raise CannotBegin(f"{file} must hold one line, the id of a key and its secret: ID:SECRET")
    return replace(options, access_key=key, secret_key=secret)


async def _run(settings: Settings, target: Store, *, deep: bool) -> bool:
    source = open_store(settings.storage, s3=settings.s3)
    database = open_database(settings.database_url)
    try:
        await meet(database, source)
        async with database.read() as connection:
            mark = (await storages.known(connection)).mark
        if mark is None:  # `meet` saw to it that there is one
            raise CannotBegin("the database knows no storage: start a worker")
        await asyncio.to_thread(_check, target, mark)
        return await Copying(database, source, target, deep=deep).run(mark)
    finally:
        await database.close()


def _check(target: Store, mark: UUID) -> None:
    """Raise `CannotBegin` if the target belongs to another depot, `OSError` if it can't be used."""
    found = target.mark()
    if found == mark:
        raise CannotBegin(f"{target.location} is the storage of this depot itself: name another place")
    # The storage that this one is a copy of may become a copy of this one.
    if found and found != mark_of_copy(mark) and mark_of_copy(found) != mark:
        raise CannotBegin(f"{target.location} is the storage of another depot, or a copy of one: name another place")
    target.prepare()
    try:
        target.check_abilities()
    except OperationError as error:
        raise CannotBegin(f"{target.location} can't hold models: {error.message}") from None


class _Gone(Exception):
    """The model was deleted while it was copied."""


class Progress:
    """Tells from time to time how far the model is that is being copied."""

    def __init__(self) -> None:
        self.begin("", 0)

    def begin(self, name: str, total: int) -> None:
        self._name, self._total, self._read = name, total, 0
        self._due = time.monotonic() + _EVERY

    def count(self, number: int) -> None:
        self._read += number
        if time.monotonic() > self._due:
            self._due = time.monotonic() + _EVERY
            say(f"copying   {self._name}: {size(self._read)} of {size(self._total)}", err=True)


class Copying:
    """Copies the ready models of a depot from `source` to `target`. If `deep`, what is there is read, too."""

    def __init__(self, database: Database, source: Store, target: Store, *, deep: bool) -> None:
        self._database, self._target, self._deep = database, target, deep
        self._progress = Progress()
        self._transfer = Transfer(source, target, self._progress.count)
        self._size = 0

    async def run(self, mark: UUID) -> bool:
        """Copy what is not there yet; mark the target as a complete copy. Return False if a model was not copied."""
        copied: dict[UUID, bool] = {}
        # Until no new one has become ready meanwhile.
        while model_ids := [model_id for model_id in await self._ready() if model_id not in copied]:
            for model_id in model_ids:
                copied[model_id] = await self._copy(model_id)
        await self._remove_deleted()
        failed = sum(not done for done in copied.values())
        if failed:
            say(f"{failed} of {len(copied)} models were NOT copied: see above; then run this again")
            return False
        await asyncio.to_thread(self._target.write_mark, mark_of_copy(mark))
        say(
            f"{self._target.location} is a copy of this depot's storage: {many(len(copied), 'model')}, {amount(self._size, ' bytes')}. A depot "
            "that is restarted with DEPOT_STORAGE set to it changes to it; stop its workers and run this once more before."
        )
        return True

    async def _ready(self) -> Sequence[UUID]:
        return [model_id async for ids in ready(self._database, settled=False) for model_id in ids]

    async def _copy(self, model_id: UUID) -> bool:
        """Copy one model, and say what was done. Return False if it was not copied."""
        async with self._database.read() as connection:
            described = await holdings.described(connection, model_id)
        if described is None:
            return True
        model, files = described
        manifest = Manifest.of(model, model.commit, files)
        self._progress.begin(model.name, manifest.size)
        wrong = await asyncio.to_thread(self._transfer.lacking, manifest, deep=self._deep)
        if wrong is not None and not wrong:
            say(f"there     {model_id}  {model.name}")
            self._size += manifest.size
            return True
        attempt = Attempt(model_id, label_of(model), uuid4(), 1)
        try:
            problems = await self._bring(attempt, manifest, wrong)
        except OperationError as error:
            problems = [error.message]
        except _Gone:
            say(f"gone      {model_id}  {model.name} was deleted meanwhile")
            return True
        if problems:
            say(*(f"NOT COPIED  {model_id}  {model.name}: {problem}" for problem in problems))
            return False
        what = "copied" if wrong is None else "mended"
        say(
            f"{what}    {model_id}  {model.name}: {many(len(manifest.files), 'file')}, {amount(manifest.size, ' bytes')}"
        )
        self._size += manifest.size
        return True

    async def _bring(self, attempt: Attempt, manifest: Manifest, wrong: Sequence[File] | None) -> Sequence[str]:
        """Copy a model, or what is `wrong` in its copy. Return its problems. Raises `_Gone`, or `OperationError`."""
        mends = wrong is not None
        files = manifest.files if wrong is None else wrong
        problems = await asyncio.to_thread(self._transfer.bring, attempt, files, mends=mends)
        if not await self._lasts(attempt.model_id):
            await asyncio.to_thread(self._target.discard_incoming, attempt.model_id)
            raise _Gone
        if not problems:
            await asyncio.to_thread(self._transfer.publish, attempt, manifest, mends=mends)
        return problems

    async def _lasts(self, model_id: UUID) -> bool:
        """Whether the model is still ready, and is not being deleted."""
        async with self._database.read() as connection:
            model = (await models.get_many(connection, [model_id])).get(model_id)
        return model is not None and model.path is not None

    async def _remove_deleted(self) -> None:
        """Move what the database remembers to have been deleted to the copy's trash, which is kept as the depot's is."""
        published = await asyncio.to_thread(self._target.published_ids)
        arriving = await asyncio.to_thread(self._target.arriving_ids)
        async with self._database.read() as connection:
            missing, deleted = await holdings.missing(connection, sorted(published | arriving))
        for model_id in sorted(deleted):
            if model_id in arriving:
                await asyncio.to_thread(self._target.discard_incoming, model_id)
            if model_id in published:
                await asyncio.to_thread(self._target.take_away, model_id)
                say(f"removed   {model_id}  it was deleted: the copy's trash has it for DEPOT_TRASH_RETENTION")
        for model_id in sorted(missing & published - deleted):
            say(f"unknown   {model_id}  is in the copy only, and was not deleted here: it is left there")
        await asyncio.to_thread(self._target.empty_trash, time.time())


if __name__ == "__main__":
    # Ctrl-C ends it at once, whatever a thread is doing: the next copy uses what is there.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    main()
