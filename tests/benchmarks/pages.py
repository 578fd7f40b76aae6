"""The console's lists with very many of everything: `python -m tests.benchmarks.pages [--rows 10000]`.

On PostgreSQL and on SQLite, with so many models in every state, deployments, ended operations, audit records and keys.
Each page is asked for in turn, several times. Printed are the median and the worst of each, and by how much the API's
memory grew from the second round on: it has to answer within 300 ms, and to stay as it is.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx2
from sqlalchemy import insert

from app.db.access_tables import AuditRow
from app.db.migrate import upgrade
from app.db.session import Database, open_database
from app.db.tables import FileRow, OperationRow
from app.domain.commands import Command
from app.domain.states import OperationState
from tests import many
from tests.api.raw import Memory
from tests.depot import KEY, SECRET, Depot
from tests.servers import PostgreSQL, Redis

_LIMIT, _GROWTH = 0.3, 8
"""Seconds and MiB: the limits."""
_ROUNDS = 20
_PAGES = (
    "/console",
    "/console?sort=name&page=150",
    "/console?sort=-size",
    "/console?q=model-77",
    "/console?status=ready&page=199",
    "/console?status=deleting",
    "/console/deployments",
    "/console/deployments?sort=model&page=150",
    "/console/deployments?q=-77",
    "/console/deployments?kind=declared",
    "/console/activity",
    "/console/activity?state=success&command=create-model&span=30d",
    "/console/activity?sort=-average&page=150",
    "/console/activity?sort=took&state=success&page=150",
    "/console/activity/now",
    "/console/storage?sort=name&page=150",
    "/console/storage?sort=-shared&page=150",
    "/console/storage?sort=-own&page=150",
    "/console/keys?sort=name&page=150",
    "/console/keys?q=key+77",
    "/console/keys?sort=status&role=reader&page=150",
    "/console/audit",
    "/console/audit?q=model-77&outcome=refused",
    "/console/audit?sort=name&page=150",
    "/console/audit?sort=outcome&page=150",
    "/console/audit.csv",
    "/console/models/{model}/files?sort=-size&page=15",
    "/console/models/{model}/files?q=file-0077",
    "/console/activity?of={model}",
    "/console/deployments?of={model}&sort=name&page=150",
)
_AT_ONCE = 1000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.pages")
    parser.add_argument("--rows", type=int, default=10_000)
    rows = parser.parse_args().rows
    with PostgreSQL() as postgresql, Redis() as redis, tempfile.TemporaryDirectory(prefix="pages-") as name:
        for kind in ("postgresql", "sqlite"):
            folder = Path(name) / kind
            folder.mkdir()
            address = postgresql.migrated() if kind == "postgresql" else f"sqlite:///{folder / 'depot.sqlite3'}"
            upgrade(address)
            model_id = asyncio.run(_fill(address, rows))
            nowhere = "http://127.0.0.1:9"
            depot = Depot(folder, database_url=address, redis_url=redis.url, hub_endpoint=nowhere, workers=0)
            try:
                print(f"{rows} rows of each on {kind}")
                _measure(depot, model_id)
            finally:
                depot.close()


async def _fill(address: str, count: int) -> str:
    """Return the id of the model with most files and deployments."""
    database = open_database(address)
    ids = await many.add_models(database, count)
    await _add_files(database, ids)
    await many.add_files(database, ids[0], count)
    await many.add_deployments(database, ids[0], count)
    await many.add_keys(database, count, revoked=True)  # nobody has their secrets
    await _add_history(database, ids)
    await database.close()
    return ids[0]


async def _add_files(database: Database, ids: list[str]) -> None:
    """Three of each model, of which one is also in the next model."""
    async with database.begin() as connection:
        for start in range(0, len(ids), _AT_ONCE):
            some = range(start, min(start + _AT_ONCE, len(ids)))
            rows = [
                {"model_id": UUID(ids[one]), "path": f"{file}.bin", "size": one + file, "sha256": f"{checksum:064x}"}
                for one in some
                for file, checksum in enumerate((3 * one, 3 * one + 1, 3 * (one // 2) + 2))
            ]
            await connection.execute(insert(FileRow), rows)


async def _add_history(database: Database, ids: list[str]) -> None:
    """One operation of each model, every tenth pending, and one record of the audit."""
    now = datetime.now(UTC)
    async with database.begin() as connection:
        for start in range(0, len(ids), _AT_ONCE):
            some = range(start, min(start + _AT_ONCE, len(ids)))
            await connection.execute(insert(OperationRow), [_operation(one, now) for one in some])
            await connection.execute(insert(AuditRow), [_record(one, now) for one in some])


def _operation(number: int, now: datetime) -> dict[str, object]:
    at = now - timedelta(seconds=number)
    states = {7: OperationState.FAILURE, 3: OperationState.PENDING}
    state = states.get(number % 10, OperationState.SUCCESS)
    return {
        "id": uuid4(),
        "command": Command.CREATE_MODEL,
        "resource_id": uuid4(),
        "resource_name": f"many/model-{number}",
        "state": state,
        "created_at": at - timedelta(seconds=number % 601),
        "ended_at": None if state is OperationState.PENDING else at,
        "deadline_at": at,
        "due_at": at,
        "fence": 1,
        "attempts": 1,
        "reached": 0,
        "begun_at": at - timedelta(seconds=number % 599),
        "to_fetch": number,
    }


def _record(number: int, now: datetime) -> dict[str, object]:
    return {
        "id": uuid4(),
        "at": now - timedelta(seconds=number),
        "key_id": "EXOsomebody",
        "key_name": "somebody",
        "action": "create-model",
        "resource_name": f"many/model-{number}",
        "address": "192.0.2.7",
        "outcome": "403 Forbidden" if number % 10 == 7 else "accepted",
    }


def _measure(depot: Depot, model_id: str) -> None:
    assert depot.api is not None
    times: dict[str, list[float]] = {page: [] for page in _PAGES}
    with httpx2.Client(base_url=f"http://127.0.0.1:{depot.port}", timeout=60) as client:
        assert client.post("/console/sign-in", data={"key": f"{KEY}:{SECRET}"}).status_code == 303
        memory: Memory | None = None
        for _ in range(_ROUNDS):
            for page in _PAGES:
                began = time.monotonic()
                assert client.get(page.format(model=model_id)).status_code == 200, page
                times[page].append(time.monotonic() - began)
            memory = memory or Memory(depot.api.pid)
        assert memory is not None
        grown = memory.grown() >> 20
    for page, took in times.items():
        median, worst = statistics.median(took), max(took)
        print(f"  {page:62} {median * 1000:6.0f} ms, worst {worst * 1000:6.0f} ms {_verdict(median <= _LIMIT)}")
    print(f"  the API grew by {grown} MiB (limit {_GROWTH}) {_verdict(grown <= _GROWTH)}", flush=True)


def _verdict(good: bool) -> str:
    return "ok" if good else "ABOVE"


if __name__ == "__main__":
    main()
