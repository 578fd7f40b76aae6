"""Reconciles the storage and the rows after a restore or a loss: finds differences and applies an operator's choice."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from app.db.session import Database
from app.domain.errors import BadRequest, TryAgain
from app.domain.repositories import Selection, select
from app.services import audit, holdings, storages
from app.services.rows import SelectedModel
from app.storage.base import Store
from app.storage.manifests import Manifest
from app.storage.names import label_of
from app.terminal import amount
from worker.maintenance.orphans import look, ready, without_folder


@dataclass(frozen=True, slots=True)
class Differences:
    """Models, by id."""

    lost: Sequence[UUID]
    """Ready, without a folder."""
    unknown: Sequence[UUID]
    """Published folders without a row."""
    arriving: Sequence[UUID]
    """Partial files of models without a row."""

    def __bool__(self) -> bool:
        return bool(self.lost or self.unknown or self.arriving)


async def compare(database: Database, storage: Store) -> Differences:
    """Return the differences between storage and rows. Raise `OSError`."""
    found = await asyncio.to_thread(look, storage)
    async with database.read() as connection:
        missing, _ = await holdings.missing(connection, list(found.published | found.arriving))
    lost: list[UUID] = []
    async for ids in ready(database, settled=False):
        lost += await asyncio.to_thread(without_folder, storage, ids)
    return Differences(lost, sorted(found.published & missing), sorted(found.arriving & missing))


async def report(database: Database, storage: Store, differences: Differences) -> AsyncIterator[str]:
    """Yield a line for each difference, each entry of the trash, and housekeeping's complaint."""
    async with database.read() as connection:
        complaint = (await storages.known(connection)).complaint
    for model_id in differences.lost:
        yield f"LOST      {model_id}  is ready and has no folder: its row is put in error within the hour"
    for model_id in differences.unknown:
        manifest = next(storage.records(model_id), None)
        what = (
            f"{manifest.name} at {manifest.revision}, {amount(manifest.size, ' bytes')}"
            if manifest
            else "without a manifest"
        )
        yield f"UNKNOWN   {model_id}  is published, {what}: adopt or prune it"
    for model_id in differences.arriving:
        yield f"PARTIAL   {model_id}  arrived in part and has no row: prune it, unless another depot is at work here"
    for entry in storage.removed():
        days = (entry.since + storage.keep - time.time()) / 86_400
        yield f"trash     {entry.model_id}  can be restored for another {max(days, 0):.1f} days"
    if complaint:
        yield f"HELD BACK {complaint}"
    if not differences:
        yield "ok        the storage holds what the database says, and nothing else"


async def adopt(database: Database, storage: Store, model_ids: Sequence[UUID]) -> AsyncIterator[tuple[bool, str]]:
    """Insert rows for published folders, verified against their manifests. Yield (done, line to print) for each."""
    for model_id in model_ids:
        problem = await _adopt(database, storage, model_id)
        yield not problem, problem or f"adopted   {model_id}"
    await _look_again(database)


async def prune(
    database: Database, storage: Store, model_ids: Sequence[UUID], *, at_once: bool
) -> AsyncIterator[tuple[bool, str]]:
    """Remove folders without a row: published ones to the trash, unless `at_once`. Yield as `adopt` does."""
    async with database.read() as connection:
        missing, _ = await holdings.missing(connection, model_ids)
    for model_id in model_ids:
        if model_id not in missing:
            yield False, f"kept      {model_id}  the database has it: delete it with `modeldepot rm {model_id}`"
            continue
        try:
            await asyncio.to_thread(_take_away, storage, model_id, at_once=at_once)
        except TryAgain as error:
            yield False, f"kept      {model_id}  {error.message}"
        else:
            await _audit(database, "prune-model", model_id)
            yield True, f"pruned    {model_id}"
    await _look_again(database)


async def restore(database: Database, storage: Store, model_id: UUID) -> tuple[bool, str]:
    """Restore a folder from the trash, and its row if that is missing. Return as `adopt` yields."""
    try:
        if not await asyncio.to_thread(storage.restore, model_id):
            return False, f"The trash holds nothing of {model_id}; `modeldepot storage check` lists what it holds."
    except FileExistsError:
        return False, f"{model_id} is published: nothing is put in its place."
    problem = await _adopt(database, storage, model_id)
    await _look_again(database)
    return not problem, problem or f"restored  {model_id}"


def _take_away(storage: Store, model_id: UUID, *, at_once: bool) -> None:
    storage.discard_incoming(model_id)
    if storage.has(model_id):
        storage.take_away(model_id)
    if at_once:
        storage.forget(model_id)


async def _adopt(database: Database, storage: Store, model_id: UUID) -> str:
    """Ensure a row and a link for the folder. Return the problem, or an empty string on success."""
    async with database.read() as connection:
        missing, _ = await holdings.missing(connection, [model_id])
        described = await holdings.described(connection, model_id)
    if not missing:
        if described is None:
            return f"kept      {model_id}  its model is not ready: send its create again, what is there is not fetched"
        await asyncio.to_thread(storage.link, label_of(_selection(described[0])), model_id)
        return ""
    try:
        manifest = await asyncio.to_thread(_fitting, storage, model_id)
        selection = select(
            manifest.name, manifest.revision, manifest.include, manifest.exclude, follows=manifest.follows
        )
    except (ValueError, BadRequest) as error:
        return f"refused   {model_id}  {error}"
    path = storage.path(label_of(selection), model_id)
    async with database.begin() as connection:
        other = await holdings.adopt(connection, model_id, selection, manifest.commit, path, manifest.files)
        if other is None:
            await audit.record(connection, [_act("adopt-model", model_id, manifest.name)], audit.ACCEPTED)
    if other is not None:
        return f"refused   {model_id}  model {other} has this selection of {manifest.name} already: prune this folder"
    await asyncio.to_thread(storage.link, label_of(selection), model_id)
    await asyncio.to_thread(storage.record, manifest)
    return ""


def _fitting(storage: Store, model_id: UUID) -> Manifest:
    """Return the manifest that the folder matches byte for byte. Raise `ValueError` if there is none."""
    problems = ["there is no manifest of it: send a create for what it is, then prune this folder"]
    for manifest in storage.records(model_id):
        recorded = {file.path: (file.size, file.sha256) for file in manifest.files}
        problems = storage.check(model_id, recorded)
        if not problems:
            return manifest
    more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
    raise ValueError(f"{problems[0]}{more}")


def _selection(model: SelectedModel) -> Selection:
    return Selection(model.name, model.revision, tuple(model.include), tuple(model.exclude))


def _act(action: str, model_id: UUID, name: str | None) -> audit.Act:
    act = audit.by_shell(action)
    act.resource_id, act.resource_name = model_id, name
    return act


async def _audit(database: Database, action: str, model_id: UUID) -> None:
    async with database.begin() as connection:
        await audit.record(connection, [_act(action, model_id, None)], audit.ACCEPTED)


async def _look_again(database: Database) -> None:
    """Make a worker tidy soon, so that /readyz is up to date."""
    async with database.begin() as connection:
        await storages.tidy_soon(connection)
