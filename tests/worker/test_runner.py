"""A worker's loop, by itself: what carries out operations is in the tests of the lifecycle."""

import asyncio
import errno
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text, update

from app.db.session import Database
from app.db.tables import ModelRow
from app.depot.arrivals import Arrivals
from app.depot.volume import Volume
from app.domain.commands import Command
from app.domain.errors import Failed, Reason
from app.domain.states import OperationState
from app.probe import Pulse
from app.sealing import Sealer
from app.services import operations
from app.services.workers import Presence
from app.storage.base import StoreAway
from app.storage.locations import S3Options
from app.storage.posix import PosixStore
from app.wakeup import Wakeup, connect
from tests import by_hand
from tests.depot import SECRET_KEY
from worker.commands.work import Work, WorkerContext
from worker.lanes import RunnerOptions
from worker.metrics import WorkerMetrics
from worker.processes import DownloadPool
from worker.runner import Runner


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
async def test_a_runner_that_is_woken_and_stopped_in_the_same_moment_stops(
    database: Database, redis_url: str, tmp_path: Path, steps: int
) -> None:
    pulse = _Told(tmp_path, 30)
    runner = _idle(database, redis_url, tmp_path, pulse)
    running = asyncio.create_task(runner.run())
    await pulse.felt.wait()
    runner.wake()
    for _ in range(steps):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait({running}, timeout=10)
    assert running.done()


@pytest.mark.parametrize(
    ("database_url", "said"), [("sqlite", "message"), ("postgresql", "statement")], indirect=["database_url"]
)
async def test_what_the_database_refuses_to_store_ends_the_operation_all_the_same(
    database: Database, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    """Left as it was it would be claimed again and again, and end as if its workers had died."""

    async def work(work: Work) -> None:
        if said == "message":
            raise Failed(Reason.INCORRECT, "refuse this")
        async with work.context.database.begin() as connection:
            await connection.execute(update(ModelRow).values(commit="c" * 65))

    if said == "message":
        async with database.begin() as connection:
            await connection.execute(text(_REFUSING))
    monkeypatch.setattr("worker.runner.COMMANDS", {Command.CREATE_MODEL: work})
    operation = await by_hand.create(database, "acme/model")
    pulse = _Told(tmp_path, 30)
    running = asyncio.create_task(_idle(database, redis_url, tmp_path, pulse).run())
    try:
        async with asyncio.timeout(20):
            # It looks for more when it has begun with one, and when it is through with it.
            while (ended := await _operation(database, operation.id)).state == OperationState.PENDING:
                await pulse.felt.wait()
                pulse.felt.clear()
    finally:
        running.cancel()
        await asyncio.wait({running})
    assert (ended.state, ended.reason) == (
        OperationState.FAILURE,
        Reason.INCORRECT if said == "message" else Reason.FAULT,
    )
    assert "log" in ended.message


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_an_operation_whose_storage_does_not_answer_waits_for_it(
    database: Database, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(_: Work) -> None:
        raise StoreAway(errno.EHOSTUNREACH, "the object store does not answer")

    monkeypatch.setattr("worker.runner.COMMANDS", {Command.CREATE_MODEL: work})
    operation = await by_hand.create(database, "acme/model")
    pulse = _Told(tmp_path, 30)
    running = asyncio.create_task(_idle(database, redis_url, tmp_path, pulse).run())
    try:
        async with asyncio.timeout(20):
            while not (told := await _operation(database, operation.id)).message:
                await pulse.felt.wait()
                pulse.felt.clear()
    finally:
        running.cancel()
        await asyncio.wait({running})
    assert told.state == OperationState.PENDING
    assert "the object store does not answer" in told.message


_REFUSING = """
    CREATE TRIGGER refusing BEFORE UPDATE ON models WHEN NEW.message LIKE '%refuse this%'
    BEGIN SELECT RAISE(ABORT, 'refused'); END
"""


async def _operation(database: Database, operation_id: UUID) -> Any:
    async with database.read() as connection:
        return (await operations.get_many(connection, [operation_id]))[operation_id]


class _Told(Pulse):
    """Tells that the runner has looked for work, and waits."""

    def __init__(self, folder: Path, interval: float) -> None:
        super().__init__(folder, interval)
        self.felt = asyncio.Event()

    def beat(self) -> None:
        super().beat()
        self.felt.set()


def _idle(database: Database, redis_url: str, folder: Path, pulse: Pulse) -> Runner:
    storage = PosixStore(folder / "storage")
    storage.prepare()
    context = WorkerContext(
        database=database,
        wakeup=Wakeup(connect(redis_url)),
        arrivals=Arrivals(connect(redis_url)),
        metrics=WorkerMetrics(Volume(storage, writes=True), slots=1),
        storage=storage,
        download_pool=DownloadPool("http://127.0.0.1:9", str(folder), 0),
        sealer=Sealer([SECRET_KEY]),
        xet="auto",
        fetcher="own",
        s3=S3Options(),
        memory=0,
        hub_endpoint="http://127.0.0.1:9",
        redirects_inside=False,
        lease=30,
        reserve=0,
        quota=0,
        keep_partial=True,
        connections=1,
        backoff=1,
        stall_window=30,
        stall_rate=1024,
    )
    options = RunnerOptions(
        slots=1,
        small_slots=0,
        small=0,
        poll_interval=30,
        attempts=1,
        backoff=1,
        retention=3600,
        audit_retention=3600,
        error_retention=3600,
        deployment_expiry=3600,
        webhook_retention=3600,
    )
    return Runner(Presence("test:1", "test", "0", slots=1, poll_interval=30), context, options, pulse)
