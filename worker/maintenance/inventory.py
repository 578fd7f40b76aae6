"""`modeldepot storage check`, `adopt`, `prune`, `restore` and `accept`: see `worker.maintenance.reconcile`."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import click

from app.db.errors import DatabaseUnreachable
from app.db.session import Database, open_database
from app.depot.volume import VolumeAway
from app.settings import Settings, SettingsError, load
from app.storage import open_store
from app.storage.base import Store
from app.terminal import say, shown
from worker.maintenance import reconcile
from worker.maintenance.changing import accept
from worker.maintenance.marking import meet


def main() -> None:
    """Exit with code 1 if something differs or could not be done."""
    parser = argparse.ArgumentParser(prog="modeldepot storage")
    parser.add_argument("command", choices=["check", "adopt", "prune", "restore", "accept"])
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--yes", action="store_true")
    parser.add_argument("--now", action="store_true")
    parser.add_argument("models", nargs="*", type=UUID)
    options = parser.parse_intermixed_args()  # ids follow options
    try:
        done = asyncio.run(_run(load(), options))
    except click.Abort:
        sys.exit(f"modeldepot storage {options.command}: nothing was done, since nobody answered: give --yes")
    except (SettingsError, VolumeAway) as error:
        sys.exit(shown(f"modeldepot storage {options.command}: {error}"))
    except DatabaseUnreachable as error:
        sys.exit(f"modeldepot storage {options.command}: {error.explanation} ({error.cause})")
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        sys.exit(
            shown(
                f"modeldepot storage {options.command}: {what}. Run it where a worker runs, as its user: `docker compose "
                "exec worker modeldepot storage …`."
            )
        )
    sys.exit(0 if done else 1)


async def _run(settings: Settings, options: argparse.Namespace) -> bool:
    storage = open_store(settings.storage, keep=settings.trash_retention, s3=settings.s3)
    database = open_database(settings.database_url)
    try:
        if options.command == "accept":
            return await _accept(database, storage)
        await meet(database, storage)
        match options.command:
            case "check":
                return await _check(database, storage)
            case "adopt":
                chosen = (await reconcile.compare(database, storage)).unknown if options.all else options.models
                return await _told(reconcile.adopt(database, storage, chosen))
            case "restore":
                results = [await reconcile.restore(database, storage, model_id) for model_id in options.models]
                say(*(line for _, line in results))
                return all(done for done, _ in results)
        return await _prune(database, storage, options)
    finally:
        await database.close()


async def _check(database: Database, storage: Store) -> bool:
    differences = await reconcile.compare(database, storage)
    async for line in reconcile.report(database, storage, differences):
        say(line)
    return not differences


async def _prune(database: Database, storage: Store, options: argparse.Namespace) -> bool:
    chosen: Sequence[UUID] = options.models
    if options.all:
        differences = await reconcile.compare(database, storage)
        trash = [entry.model_id for entry in storage.removed()] if options.now else []
        chosen = sorted({*differences.unknown, *differences.arriving, *trash})
    if chosen and not options.yes:
        say(*chosen)
        how = "removes these for good" if options.now else "takes these away; `restore` brings published ones back"
        if not await asyncio.to_thread(click.confirm, f"This {how}. Go on?", default=False, err=True):
            return False
    return await _told(reconcile.prune(database, storage, chosen, at_once=options.now))


async def _accept(database: Database, storage: Store) -> bool:
    await asyncio.to_thread(storage.prepare)
    mark, missing = await accept(database, storage)
    say(f"the database knows the storage at {storage.location} from here on, by its mark {mark}")
    if missing:
        say(f"{missing} models that are ready are not there: `modeldepot storage check` lists them")
    return True


async def _told(results: AsyncIterator[tuple[bool, str]]) -> bool:
    """Print each line, or that there is nothing to do. Return whether all was done."""
    outcomes = []
    async for done, line in results:
        say(line)
        outcomes.append(done)
    if not outcomes:
        say("nothing to do")
    return all(outcomes)


if __name__ == "__main__":
    main()
