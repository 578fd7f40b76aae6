"""Builds the worker process. `python -m worker.main`, or `modeldepot worker`."""

import asyncio
import os
import signal
import socket
import ssl
import sys
import threading
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import structlog

from app import telemetry
from app.db.errors import DatabaseUnreachable
from app.db.revisions import revisions
from app.db.session import Database, open_database
from app.depot.arrivals import Arrivals
from app.depot.metrics import StoreMetrics
from app.depot.readiness import Readiness
from app.depot.status import CannotListen, StatusServer, listen
from app.depot.volume import Volume, VolumeAway
from app.domain.errors import Failed
from app.probe import Pulse
from app.sealing import Sealer
from app.services.workers import Presence
from app.settings import Settings, SettingsError, load, split_keys, split_webhook_keys
from app.storage import open_store
from app.storage.base import Store
from app.storage.locations import is_bucket
from app.tasks import beside, cancel_and_wait
from app.terminal import shown
from app.wakeup import Wakeup, connect
from worker.commands.work import WorkerContext
from worker.download.trust import CERTIFICATE, KEY, show
from worker.lanes import RunnerOptions
from worker.lookups import answering
from worker.maintenance.changing import change_to_copy
from worker.maintenance.marking import meet
from worker.metrics import WorkerMetrics
from worker.processes import DownloadPool
from worker.runner import Runner
from worker.samples import record
from worker.scratch import scratch
from worker.updates import look
from worker.wakeup import listening
from worker.webhooks import WebhookOptions, send

_HAND_OVER = 7.0
"""Most seconds that the hand-over of all operations takes, even while the database is unreachable."""

_WITHOUT_RECEIVER = 3600.0
"""Seconds that messages of webhooks are kept while no receiver is set: one that is set then is not flooded."""
_STOP_WITHIN = 8.0
"""Most seconds that a stop may take, whatever hangs: the caller waits for ten."""

log = structlog.get_logger()


def main() -> None:
    asked = StoreMetrics()
    try:
        settings = load()
        _check_certificate(settings)
        # First of all: a worker that cannot listen has changed and logged nothing.
        listener = listen(settings.metrics_host, settings.metrics_port)
        storage = open_store(settings.storage, keep=settings.trash_retention, s3=settings.s3, observe=asked.asked)
    except (SettingsError, CannotListen) as error:
        sys.exit(_say(str(error)))
    try:
        storage.check_writable()
    except PermissionError as error:
        sys.exit(_say(f"DEPOT_STORAGE is wrong: can't write to {settings.storage}: {error.strerror}."))
    except OSError:
        pass  # It may be mounted later.
    telemetry.configure(settings.log_format)
    _give_way(settings.niceness)
    try:
        asyncio.run(_serve(settings, storage, asked, listener))
    except Failed as error:
        sys.exit(_say(f"DEPOT_STORAGE is wrong: {error.message}"))


def _check_certificate(settings: Settings) -> None:
    """Raise `SettingsError` for a client certificate that cannot be loaded."""
    if not settings.hub_client_certificate:
        return
    try:
        show(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), settings.hub_client_certificate, settings.hub_client_key)
    except OSError as error:
        message = (
            f"{CERTIFICATE} and {KEY} are wrong: {error.strerror or error}. Name a certificate in PEM and its key, which "
            "has no password, in the same file or in another."
        )
        raise SettingsError(message) from None


def _give_way(niceness: int) -> None:
    """Lower this worker's CPU priority: when CPU is short, the API goes first."""
    os.nice(niceness)
    if niceness and os.getsid(0) == os.getpid():
        # Linux may first divide CPU time between sessions; niceness then only counts within this session.
        with suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(niceness))


async def _serve(settings: Settings, storage: Store, asked: StoreMetrics, listener: socket.socket | None) -> None:
    host = socket.gethostname()
    options = _options(settings)
    presence = Presence(f"{host}:{os.getpid()}", host, version("modeldepot"), options.all_slots, settings.poll_interval)
    structlog.contextvars.bind_contextvars(worker=presence.name)
    database = open_database(
        settings.database_url, pool_size=settings.database_pool, statement_timeout=settings.statement_timeout
    )
    redis = connect(settings.redis_url)
    wakeup, arrivals = Wakeup(redis), Arrivals(redis)
    volume = Volume(storage, writes=True, database=database)
    metrics = WorkerMetrics(volume, settings.slots, asked)
    status = StatusServer(Readiness(database, revisions(), wakeup, volume), metrics)
    with scratch() as cache:
        download_pool = DownloadPool(
            settings.hub_endpoint, str(cache), settings.bandwidth, to_bucket=is_bucket(settings.storage)
        )
        context = _context(settings, database, wakeup, arrivals, metrics, storage, download_pool)
        runner = Runner(presence, context, options, Pulse(cache, settings.poll_interval))
        async with status.listening(listener), arrivals.telling():
            await _look_at(storage, database)
            async with beside(record(database, volume, metrics)):
                await _work(runner, context, settings)
        await wakeup.close()
        await database.close()


def _context(
    settings: Settings,
    database: Database,
    wakeup: Wakeup,
    arrivals: Arrivals,
    metrics: WorkerMetrics,
    storage: Store,
    download_pool: DownloadPool,
) -> WorkerContext:
    return WorkerContext(
        database=database,
        wakeup=wakeup,
        arrivals=arrivals,
        metrics=metrics,
        storage=storage,
        download_pool=download_pool,
        sealer=Sealer(split_keys(settings.secret_key)),
        hub_endpoint=settings.hub_endpoint,
        redirects_inside=settings.hub_redirects_inside,
        lease=settings.lease,
        reserve=settings.reserve,
        quota=settings.quota,
        keep_partial=settings.keep_partial,
        connections=settings.connections,
        backoff=settings.backoff,
        xet=settings.xet,
        fetcher=settings.fetcher,
        s3=settings.s3,
        memory=settings.buffer // (settings.slots + settings.small_slots),
        stall_window=settings.stall_window,
        stall_rate=settings.stall_rate,
    )


def _options(settings: Settings) -> RunnerOptions:
    return RunnerOptions(
        slots=settings.slots,
        small_slots=settings.small_slots,
        small=settings.small,
        poll_interval=settings.poll_interval,
        attempts=settings.attempts,
        backoff=settings.backoff,
        retention=settings.operation_retention,
        audit_retention=settings.audit_retention,
        error_retention=settings.error_retention,
        deployment_expiry=settings.deployment_expiry,
        webhook_retention=settings.webhook_retention if _has_receiver(settings) else _WITHOUT_RECEIVER,
    )


def _has_receiver(settings: Settings) -> bool:
    return bool(settings.webhook_url.get_secret_value())


def _webhooks(settings: Settings) -> WebhookOptions:
    return WebhookOptions(
        url=settings.webhook_url.get_secret_value(),
        keys=split_webhook_keys(settings.webhook_secret),
        inside=settings.webhook_inside,
        backoff=settings.backoff,
        lease=settings.lease,
        poll_interval=settings.poll_interval,
    )


async def _look_at(storage: Store, database: Database) -> None:
    """Raise `Failed` for a file system that can't keep models.

    Missing storage does not end the worker: it may be mounted later, and each operation checks again.
    """
    try:
        await change_to_copy(database, storage)
        await meet(database, storage)
        if not await asyncio.to_thread(storage.check_abilities):
            log.warning("files that models share are kept once for each of them: the storage has no links")
    except VolumeAway as error:
        log.error("the storage is not there", reason=str(error))  # noqa: TRY400  # the reason says it all
    except DatabaseUnreachable as error:
        log.warning("storage and database can't be compared", reason=str(error), error=error.cause)


async def _work(runner: Runner, context: WorkerContext, settings: Settings) -> None:
    """Work until asked to stop; then hand over all running operations."""
    await context.download_pool.prepare()
    log.info("worker is ready", slots=settings.slots, storage=settings.storage, hub=settings.hub_endpoint)
    running = asyncio.create_task(runner.run())
    async with (
        listening(settings.redis_url, runner),
        answering(settings.redis_url, context),
        beside(send(context.database, _webhooks(settings))),
        beside(look(context, settings.update_check)),
    ):
        await _asked_to_stop()
        log.info("worker stops")
        _end_in_any_case()
        context.download_pool.retire()
        handing_over = asyncio.create_task(cancel_and_wait(running, patience=_HAND_OVER))
    await handing_over
    await context.download_pool.close()


def _end_in_any_case() -> None:
    """Exit after `_STOP_WITHIN`: a wait for SQLite's lock can't be cancelled, and a normal exit joins its thread."""

    def end_now() -> None:
        log.error("the worker could not hand over in time: others take up what it holds when its leases run out")
        os._exit(1)

    timer = threading.Timer(_STOP_WITHIN, end_now)
    timer.daemon = True
    timer.start()


async def _asked_to_stop() -> None:
    """Wait for SIGTERM or SIGINT or, for a worker on a lifeline, the end of its standard input."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    lifeline = sys.stdin.fileno() if os.environ.get("DEPOT_LIFELINE") == "1" else None
    if lifeline is not None:
        loop.add_reader(lifeline, lambda: None if os.read(lifeline, 1024) else stop.set())
    await stop.wait()
    if lifeline is not None:  # At end of file it stays readable, which would keep the loop spinning.
        loop.remove_reader(lifeline)


def _say(message: str) -> int:
    with suppress(OSError):
        sys.stderr.write(f"modeldepot worker: {shown(message)}\n")
    return 2


if __name__ == "__main__":
    main()
