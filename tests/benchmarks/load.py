"""A thousand models queued at once on four workers: `python -m tests.benchmarks.load [--models 1000] [--workers 4]`.

The database is PostgreSQL, the bell a real Redis, the Hub another process on loopback, the settings those of the product.
What get-model takes is measured by a client that asks 50 times a second, first of an idle depot and then all the while
the models are fetched. Printed are also: how far claims strayed from the order of creation, how long anybody waited, and
what the workers and the API had in memory when 10 % and when 90 % of the models were ready.
"""

import argparse
import asyncio
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from app.db.session import Database, open_database
from app.db.tables import OperationRow
from app.domain.states import OperationState
from app.services import operations
from tests.benchmarks.api import request
from tests.depot import CREDENTIALS, Depot
from tests.processes import free_port, said, until
from tests.servers import PostgreSQL, Redis

_PAUSE = 0.02
_IDLE = 10.0
"""Seconds that the idle depot is measured."""
_PATIENCE = 1800.0
_BYTES = 100_000
HEADERS = "".join(f"{name}: {value}\r\n" for name, value in CREDENTIALS.items())
# The product's, where the tests' depots are quicker.
_SETTINGS = {"lease": 30, "poll_interval": 5, "backoff": 2, "niceness": 10}


@dataclass(slots=True)
class Run:
    """What was seen while the models were fetched. Times in seconds, memory in MiB."""

    answered: list[float] = field(default_factory=list)
    memory: dict[int, dict[str, float]] = field(default_factory=dict)
    """By the per cent of models that were ready."""
    wall: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.load")
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=4)
    options = parser.parse_args()
    with PostgreSQL() as postgresql, Redis() as redis, tempfile.TemporaryDirectory(prefix="load-") as name:
        folder = Path(name)
        names = _repositories(folder / "hub", options.models)
        with _hub(folder / "hub") as endpoint:
            address = postgresql.migrated()
            where = {"database_url": address, "redis_url": redis.url, "hub_endpoint": endpoint}
            depot = Depot(folder / "depot", **where, workers=options.workers, **_SETTINGS)  # type: ignore[arg-type]
            try:
                asyncio.run(_measure(depot, address, names))
            finally:
                depot.close()


async def _measure(depot: Depot, address: str, names: Sequence[str]) -> None:
    until(lambda: depot.logs().count("worker is ready") == len(depot.workers), depot.logs)
    with suppress(PermissionError):
        # What the client itself waits for the processor is not the API's doing. Niceness would count within its session only.
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    path = f"/v2/ai/model/{(await _create(depot, ['acme/first']))[0]}"
    database = open_database(address)
    try:
        await _finished(database, 1)
        idle = Run()
        await _for(_IDLE, ask(depot.port, path, idle.answered))
        run, began = Run(), time.monotonic()
        asking = asyncio.create_task(ask(depot.port, path, run.answered))
        await _create(depot, names)
        print(f"{len(names)} creates: {time.monotonic() - began:.1f} s")
        for share in (10, 90, 100):
            await _finished(database, 1 + len(names) * share // 100)
            run.memory[share] = {who: _resident(pid) for who, pid in _processes(depot).items()}
        run.wall = time.monotonic() - began
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        _tell(idle, run, len(names))
        _tell_order(await _claims(database))
    finally:
        await database.close()


def _tell(idle: Run, run: Run, models: int) -> None:
    print(f"{models} models ready after {run.wall:.1f} s, {models / run.wall:.1f} a second")
    for name, rank in (("median", 0.5), ("p99", 0.99)):
        before, during = (quantile(one.answered, rank) * 1000 for one in (idle, run))
        print(f"get-model {name}: idle {before:.2f} ms, loaded {during:.2f} ms, ratio {during / before:.2f}")
    for who, early in run.memory[10].items():
        late = run.memory[90][who]
        print(f"memory of {who}: {early:.1f} MiB at 10 %, {late:.1f} MiB at 90 %, ratio {late / early:.2f}")


def _tell_order(claims: Sequence[tuple[float, float]]) -> None:
    """`claims` are (created, claimed), in the order of creation."""
    claimed = sorted(range(len(claims)), key=lambda one: claims[one][1])
    strayed = max(abs(place - one) for place, one in enumerate(claimed))
    waits = [granted - created for created, granted in claims]
    print(f"claims strayed from the order of creation by {strayed} places at most")
    print(f"waited for a claim: {statistics.median(waits):.1f} s in the middle, {max(waits):.1f} s the longest")


async def _create(depot: Depot, names: Sequence[str]) -> list[str]:
    """The ids of the models, asked for one after the other as fast as they are accepted."""
    return [(await asyncio.to_thread(depot.create, name))["reference"]["id"] for name in names]


async def ask(port: int, path: str, answered: list[float]) -> None:
    """Ask again and again over one connection; how long each answer took, in seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while True:
            began = time.perf_counter()
            writer.write(request("GET", path, HEADERS))
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
            answered.append(time.perf_counter() - began)
            assert head.startswith(b"HTTP/1.1 200"), head
            await asyncio.sleep(_PAUSE)
    finally:
        writer.close()


async def _for(seconds: float, work: Any) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await work


async def _finished(database: Database, number: int) -> None:
    """Until so many operations succeeded. One that failed ends it all."""
    async with asyncio.timeout(_PATIENCE):
        while True:
            async with database.read() as connection:
                census = await operations.census(connection)
            by_state = {state: count for (_, state), count in census.by.items()}
            assert not by_state.keys() & {OperationState.FAILURE, OperationState.TIMEOUT}, by_state
            if by_state.get(OperationState.SUCCESS, 0) >= number:
                return
            await asyncio.sleep(0.5)


async def _claims(database: Database) -> list[tuple[float, float]]:
    """Of the operations that needed one attempt: when they were made and claimed."""
    query = select(OperationRow.created_at, OperationRow.leased_at).where(OperationRow.fence == 1)
    async with database.read() as connection:
        rows = (await connection.execute(query.order_by(OperationRow.created_at))).all()
    return [(row.created_at.timestamp(), row.leased_at.timestamp()) for row in rows]


def _processes(depot: Depot) -> dict[str, int]:
    assert depot.api is not None
    return {"the API": depot.api.pid} | {
        f"worker {number}": worker.pid for number, worker in enumerate(depot.workers, 1)
    }


def _resident(pid: int) -> float:
    return int(said(pid, "statm").split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def quantile(values: Sequence[float], rank: float) -> float:
    return sorted(values)[int(rank * (len(values) - 1))]


def _repositories(folder: Path, number: int) -> list[str]:
    """Small repositories, of which no two share a file."""
    names = [f"acme/model-{one}" for one in range(number)]
    source = random.Random(1)
    for name in ("acme/first", *names):
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text(f'{{"name": "{name}"}}')
        (folder / name / "model.safetensors").write_bytes(source.randbytes(_BYTES))
    return names


@contextmanager
def _hub(folder: Path) -> Iterator[str]:
    port = free_port()
    words = [sys.executable, "-m", "tests.fakehub", str(folder), "--port", str(port)]
    # In a session of its own, as all the depot's processes are: Linux shares the processor out between sessions.
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    try:
        endpoint = next(line for line in process.stdout if "HF_ENDPOINT=" in line).strip().partition("=")[2]
        yield endpoint
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
