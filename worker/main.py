"""Builds the worker process. `python -m worker.main`, or `modeldepot worker`."""

import asyncio
import os
import signal
import socket
import sys
import tempfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import structlog
from arq.connections import ArqRedis
from arq.typing import WorkerCoroutine
from arq.worker import Function, Worker, func
from redis.exceptions import RedisError

from app import queue, telemetry
from app.db.migrate import revisions
from app.db.session import open_database
from app.probe import FOLDER, Pulse
from app.queue import QUEUE, WAKE, Doorbell
from app.readiness import Readiness
from app.sealing import Sealer
from app.services.workers import Presence
from app.settings import Settings, SettingsError, load, split_keys
from app.volume import Volume
from worker.child import Nursery
from worker.commands.work import Tools
from worker.metrics import WorkerMetrics
from worker.runner import Policy, Runner
from worker.status import CannotListen, StatusServer
from worker.storage import Storage

_PATIENCE = 2.0
"""Seconds before another try to reach Redis."""

log = structlog.get_logger()


def main() -> None:
    try:
        settings = load()
        storage = Storage(settings.storage)
        storage.prepare()
    except SettingsError as error:
        sys.exit(_say(str(error)))
    except OSError as error:
        sys.exit(_say(f"DEPOT_STORAGE is wrong: can't write to {settings.storage}: {error.strerror}."))
    telemetry.configure(settings.log_format)
    try:
        asyncio.run(_serve(settings, storage))
    except CannotListen as error:
        sys.exit(_say(str(error)))


async def _serve(settings: Settings, storage: Storage) -> None:
    host = socket.gethostname()
    presence = Presence(f"{host}:{os.getpid()}", host, version("modeldepot"), settings.slots, settings.look_interval)
    structlog.contextvars.bind_contextvars(worker=presence.name)
    database = open_database(
        settings.database_url, pool_size=settings.database_pool, statement_timeout=settings.statement_timeout
    )
    doorbell = Doorbell(queue.connect(settings.redis_url))
    volume = Volume(settings.storage, writes=True)
    status = StatusServer(Readiness(database, revisions(), doorbell, volume), WorkerMetrics(volume, settings.slots))
    with tempfile.TemporaryDirectory(prefix=FOLDER) as cache:
        nursery = Nursery(settings.hub_endpoint, cache, settings.bandwidth)
        tools = Tools(
            database=database,
            doorbell=doorbell,
            metrics=status.metrics,
            storage=storage,
            nursery=nursery,
            sealer=Sealer(split_keys(settings.secret_key)),
            hub_endpoint=settings.hub_endpoint,
            lease=settings.lease,
            reserve=settings.reserve,
            keep_partial=settings.keep_partial,
            connections=settings.connections,
            backoff=settings.backoff,
            stall_window=settings.stall_window,
            stall_rate=settings.stall_rate,
        )
        policy = Policy(
            slots=settings.slots,
            look_interval=settings.look_interval,
            attempts=settings.attempts,
            backoff=settings.backoff,
            retention=settings.operation_retention,
            audit_retention=settings.audit_retention,
        )
        runner = Runner(presence, tools, policy, Pulse(Path(cache), settings.look_interval))
        async with status.listening(settings.metrics_host, settings.metrics_port):
            await _work(runner, nursery, settings)
        await doorbell.close()
        await database.close()


async def _work(runner: Runner, nursery: Nursery, settings: Settings) -> None:
    """Until it is asked to stop; then everything under way is handed over."""
    nursery.prepare()
    log.info("worker is ready", slots=settings.slots, storage=str(settings.storage), hub=settings.hub_endpoint)
    tasks = [asyncio.create_task(runner.run()), asyncio.create_task(_answer_the_door(settings.redis_url, runner))]
    await _asked_to_stop()
    log.info("worker stops")
    nursery.retire()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await nursery.close()


async def _asked_to_stop() -> None:
    """Until SIGTERM or SIGINT comes or, for a worker on a lifeline, its standard input ends."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    lifeline = sys.stdin.fileno() if os.environ.get("DEPOT_LIFELINE") == "1" else None
    if lifeline is not None:
        loop.add_reader(lifeline, lambda: None if os.read(lifeline, 1024) else stop.set())
    await stop.wait()
    if lifeline is not None:  # At its end it is readable for ever, which would keep the loop spinning.
        loop.remove_reader(lifeline)


async def _answer_the_door(redis_url: str, runner: Runner) -> None:
    """Be woken through Redis, until cancelled. While Redis is away the runner's own looks find what there is."""

    async def wake(_context: dict[Any, Any]) -> None:
        runner.wake()

    while True:
        redis = queue.connect(redis_url)
        worker = _bell(redis, func(cast("WorkerCoroutine", wake), name=WAKE), runner)
        try:
            try:
                await worker.async_run()
            finally:
                # What fails here must not take the place of a cancellation: it would be lost.
                with suppress(RedisError, OSError, TimeoutError):
                    await worker.close()
                await redis.aclose(close_connection_pool=True)
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("redis can't be reached: looking at the database only", error=type(error).__name__)
        await asyncio.sleep(_PATIENCE)


class _Bell(Worker):
    """An arq worker that leaves the bell to others while its runner has no free slot."""

    runner: Runner

    async def _poll_iteration(self) -> None:
        self.allow_pick_jobs = self.runner.has_free_slot
        await super()._poll_iteration()


def _bell(redis: ArqRedis, wake: Function, runner: Runner) -> Worker:
    bell = _Bell(
        functions=[wake],
        redis_pool=redis,
        queue_name=QUEUE,
        handle_signals=False,
        keep_result=0,
        max_tries=1,
        job_timeout=30,
        poll_delay=0.1,
        log_results=False,
        job_serializer=queue.serialize,
        job_deserializer=queue.deserialize,
    )
    bell.runner = runner
    return bell


def _say(message: str) -> int:
    with suppress(OSError):
        sys.stderr.write(f"modeldepot worker: {message}\n")
    return 2


if __name__ == "__main__":
    main()
