"""create-model: fetch the files that the model's row selects, publish them, update the row.

For a ready model it is a repair: corrupt or missing files are fetched again and replaced in the published folder. The
model's row does not change, whatever the result.
"""

import asyncio
from contextlib import suppress

import structlog

from app.domain.errors import Failed, NotYet, Reason
from app.domain.sizes import size
from app.domain.states import ModelStatus
from app.sealing import CannotOpen
from app.services import downloads, models
from app.services.downloads import Begun
from app.services.rows import SelectedModel
from app.storage.base import Attempt, StoreAway
from app.storage.manifests import File, Manifest
from app.storage.names import label_of
from worker.commands.room import Room, check_quota, check_room, in_room
from worker.commands.sharing import Sharing
from worker.commands.work import Work
from worker.download.protocol import (
    Done,
    DownloadRequest,
    Go,
    Located,
    PassedOn,
    PassOn,
    Planned,
    Progress,
    Resolved,
    Verified,
    Waiting,
)
from worker.maintenance.marking import check_storage
from worker.processes import DownloadProcess

log = structlog.get_logger()


async def run(work: Work) -> None:
    claim, context = work.claim, work.context
    async with context.database.read() as connection:
        model = await models.selection(connection, claim.resource_id)
    name = label_of(model)
    attempt = Attempt(claim.resource_id, name, claim.lease.operation_id, claim.lease.fence)
    await check_storage(context.database, context.storage)
    await asyncio.to_thread(context.storage.check_abilities)
    await asyncio.to_thread(context.storage.check_alone, claim.resource_id)
    try:
        async with context.download_pool.child() as child:
            work.heartbeat.attach(child.beat, child.save_at_end, reports=not _mends(model))
            child.send(_request(work, model, attempt))
            with context.metrics.downloads.track_inprogress():
                commit, verified = await _follow(work, model, child)
    except Failed as error:
        if error.reason is Reason.FAULT and not context.keep_partial:
            with suppress(OSError):  # the storage may be what failed
                await asyncio.to_thread(context.storage.discard_incoming, claim.resource_id)
        raise
    await _publish(work, model, attempt, commit, verified)


def _request(work: Work, model: SelectedModel, attempt: Attempt) -> DownloadRequest:
    context = work.context
    return DownloadRequest(
        model_id=attempt.model_id,
        label=attempt.label,
        operation_id=attempt.operation_id,
        fence=attempt.fence,
        mends=_mends(model),
        name=model.name,
        revision=model.revision,
        commit=model.commit,
        include=model.include,
        exclude=model.exclude,
        token=_token(work),
        endpoint=context.hub_endpoint,
        redirects_inside=context.redirects_inside,
        storage=context.storage.location,
        s3=context.s3,
        memory=context.memory,
        lease=context.lease,
        connections=context.connections,
        # Within an attempt a shorter wait is enough: the bytes that arrived are kept.
        backoff=context.backoff / 4,
        xet=context.xet,
        fetcher=context.fetcher,
        stall_window=context.stall_window,
        stall_rate=context.stall_rate,
    )


def _mends(model: SelectedModel) -> bool:
    return bool(model.status == ModelStatus.READY)


def _token(work: Work) -> str | None:
    sealed = work.claim.sealed_token
    if sealed is None:
        return None
    try:
        return work.context.sealer.open(sealed, belongs_to=str(work.claim.lease.operation_id))
    except CannotOpen as error:
        message = (
            f"The Hub token can't be opened ({error}). Give the worker the same DEPOT_SECRET_KEY as the API, "
            "then retry."
        )
        raise Failed(Reason.FAULT, message) from None


async def _follow(work: Work, model: SelectedModel, child: DownloadProcess) -> tuple[str, list[File]]:
    """Handle the download process's messages to the end. Return the commit and all files, each verified."""
    heartbeat = work.heartbeat
    resolved = Resolved("", 0, 0, ())
    sharing = Sharing(work, ())
    verified: list[File] = []
    arrived = 0
    async for message in child.messages():
        match message:
            case Resolved():
                resolved = message
                await _check_size(work, model, resolved)
                sharing = Sharing(work, message.contents)
                links, awaited = await sharing.begin()
                child.send(Located(links, awaited))
            case Planned():
                arrived = await _begin(work, model, resolved, message, sharing)
                heartbeat.count_bytes(arrived)
                child.send(Go())
            case Progress():
                _report(work, message)
                arrived = _count(work, arrived, message.downloaded)
                if wanted := await sharing.tell(resolved.total - message.downloaded):
                    child.send(PassOn(wanted))
            case Verified():
                verified.append(File(message.path, message.size, message.sha256, message.blob_id))
                heartbeat.count_files(len(verified))
                sharing.verified(message.sha256)
            case PassedOn():
                await sharing.pass_on(message.checksums)
            case Waiting():
                links = await sharing.wait(message.awaited, message.downloaded)
                child.send(Located(links))
                arrived += sharing.size(links)
            case Done():
                _count(work, arrived, resolved.total)
    return resolved.commit, verified


def _report(work: Work, progress: Progress) -> None:
    """Tell the model's row, and whoever watches its page."""
    work.heartbeat.count_bytes(progress.downloaded, progress.rate)
    work.context.arrivals.note(work.claim.resource_id, progress.rate, progress.arriving)


def _count(work: Work, before: int, downloaded: int) -> int:
    """Count bytes beyond the maximum so far, `before`, in the metrics. Return the new maximum."""
    fresh = max(downloaded - before, 0)
    work.context.metrics.arrived(fresh)
    return before + fresh


async def _check_size(work: Work, model: SelectedModel, resolved: Resolved) -> None:
    """Raise `NotYet` if the download is too large for its slot, after storing its size in the row."""
    claim, total = work.claim, resolved.total
    if work.small is None or total <= work.small or _mends(model):
        return
    async with work.context.database.begin() as connection:
        await downloads.measure(connection, claim.lease, claim.resource_id, commit=resolved.commit, total=total)
    raise NotYet(Reason.BUSY, f"It waits for a slot: {size(total)} are too much for those of small models.")


async def _begin(work: Work, model: SelectedModel, resolved: Resolved, planned: Planned, sharing: Sharing) -> int:
    """Store the download's plan in the database. Return how many bytes are here.

    Raises `Failed` unless the missing bytes fit beside those that other downloads still need.
    """
    claim, total = work.claim, resolved.total
    missing = planned.missing
    here: int = total - missing - sharing.size(planned.awaited)
    if _mends(model) and resolved.commit != model.commit:
        raise Failed(
            Reason.NOT_FOUND, f"The Hub has commit {model.commit} no more: the model can't be repaired from it."
        )

    async def begin(room: Room) -> None:
        async with work.context.database.begin() as connection:
            await check_room(connection, work, missing, room)
            if not _mends(model):
                await check_quota(connection, work, total, sharing.linked + sharing.size(planned.awaited))
                begun = Begun(resolved.commit, total, here, resolved.files)
                await downloads.begin(connection, claim.lease, claim.resource_id, begun)
            await sharing.plan(connection, planned.awaited)

    await in_room(work, begin)
    log.info("download begins", commit=resolved.commit, total=total, missing=missing, awaited=total - here - missing)
    return here


async def _publish(work: Work, model: SelectedModel, attempt: Attempt, commit: str, verified: list[File]) -> None:
    storage, claim = work.context.storage, work.claim
    manifest = Manifest.of(model, commit, sorted(verified))
    # The depot may have changed to another storage since the download began.
    await check_storage(work.context.database, storage)
    try:
        if _mends(model):
            await asyncio.to_thread(storage.mend, attempt, manifest)
        else:
            await asyncio.to_thread(storage.publish, attempt, manifest)
        path = await asyncio.to_thread(storage.link, attempt.label, attempt.model_id)
    except StoreAway:
        raise
    except OSError as error:
        message = f"The files can't be published: {error.strerror}. Look at the storage, then retry."
        raise Failed(Reason.FAULT, message) from error
    async with work.context.database.begin() as connection:
        if _mends(model):
            await downloads.mend(connection, claim.lease, claim.resource_id, verified)
        else:
            await downloads.publish(connection, claim.lease, claim.resource_id, path, verified)
    log.info("model is ready", size=manifest.size, files=len(verified), path=path, repaired=_mends(model))
