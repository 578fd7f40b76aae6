"""What the databases do for the statements that run all the time, when there are very many rows."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.revisions import revisions
from app.db.session import Database
from app.depot.figures import Figures
from app.depot.metrics import ApiMetrics
from app.depot.readiness import Readiness
from app.depot.volume import Volume
from app.domain.states import ModelStatus, OperationState
from app.services import catalogue, contents, fetches, history, leases, lists, operations
from app.services.catalogue import Search
from app.storage.posix import PosixStore
from app.wakeup import Wakeup, connect
from tests import by_hand
from tests.by_hand import plain

ROWS = int(os.environ.get("ROWS", "20000"))
PENDING = 5_000
"""Of the operations: one in ten of them is due, the rest is leased or waits."""
_ID = {
    "postgresql": "CAST('00000000-0000-4000-8000-' || lpad(CAST({} AS text), 12, '0') AS uuid)",
    "sqlite": "printf('00000000000040008000%012d', {})",
}
_AGO = {
    "postgresql": "clock_timestamp() - make_interval(secs => {})",
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0 - {}",
}
_MODELS = """
    INSERT INTO models (id, name, revision, include, exclude, fingerprint, status, deleting, created_at, updated_at)
    WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < {rows})
    SELECT {id}, 'acme/model', 'main', '[]', '[]', n, 'creating', false, {age}, {age} FROM counted
"""
_OPERATIONS = """
    INSERT INTO operations (id, command, resource_id, state, created_at, ended_at, deadline_at, due_at, lease_owner,
                            fence, attempts, reached)
    WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < {rows})
    SELECT {id}, 'create-model', {id}, CASE WHEN n <= {pending} THEN 'pending' ELSE 'success' END, {age},
           CASE WHEN n <= {pending} THEN NULL ELSE {age} END, {later}, CASE WHEN n % 10 = 0 THEN {age} ELSE {later} END,
           CASE WHEN n <= {pending} AND n % 10 = 1 THEN 'a worker' END, 0, 0, 0 FROM counted
"""
_FILES = """
    INSERT INTO files (model_id, path, size, sha256)
    WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < {rows})
    SELECT {id}, 'model.safetensors', n, n / 2 FROM counted
"""
# Every pending operation fetches one content and waits for two, both of which have arrived.
_FETCHES = """
    INSERT INTO fetches (sha256, operation_id, path, arrived)
    WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < {pending})
    SELECT n, {id}, 'model.safetensors', true FROM counted
"""
_WAITS = """
    INSERT INTO waits (operation_id, sha256, size)
    WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < {pending})
    SELECT {id}, n + 1, 7 FROM counted UNION ALL SELECT {id}, n + 2, 7 FROM counted
"""


@pytest.fixture
async def crowded(database: Database) -> Database:
    """As many models with one operation each: number 1 is the newest, by a second."""
    async with database.begin() as connection:
        kind = connection.dialect.name
        words = {
            "rows": ROWS,
            "pending": PENDING,
            "id": _ID[kind].format("n"),
            "age": _AGO[kind].format("n"),
            "later": _AGO[kind].format("(-3600 - n)"),
        }
        for statement in (_MODELS, _OPERATIONS, _FILES, _FETCHES, _WAITS):
            await connection.exec_driver_sql(statement.format(**words))
        await connection.exec_driver_sql("ANALYZE")
    return database


async def test_with_very_many_rows_what_is_asked_all_the_time_goes_by_the_indexes(crowded: Database) -> None:
    with _asked(crowded) as claim:
        assert await by_hand.claim(crowded) is not None
    plan = await _plan(crowded, claim)
    assert "ix_operations_queue" in plan
    assert not _scans(plan), plan

    with _asked(crowded) as look:
        async with crowded.read() as connection:
            assert await leases.are_due(connection)
    plan = await _plan(crowded, look)
    assert "ix_operations_queue" in plan
    assert not _scans(plan), plan

    with _asked(crowded) as waiting:
        async with crowded.read() as connection:
            await fetches.wanted(connection, UUID("00000000-0000-4000-8000-000000000007"))
    plan = await _plan(crowded, waiting)
    assert "ix_fetches_operation_id" in plan
    assert not _scans(plan), plan

    with _asked(crowded) as everything:
        ids = await _list(crowded)
    assert len(ids) == ROWS
    plan = await _plan(crowded, everything)
    assert "ix_models_created_at_id" in plan
    assert not _scans(plan), plan

    with _asked(crowded) as page:
        assert await _list(crowded, limit=100, after=ids[ROWS // 2]) == ids[ROWS // 2 + 1 :][:100]
    plan = await _plan(crowded, page)
    assert "Index Cond: (ROW(created_at, id) >" in plan or "SEARCH models USING INDEX ix_models_created_at_id" in plan
    assert not _scans(plan), plan

    with _asked(crowded) as sweep:
        async with crowded.begin() as connection:
            assert await operations.expire(connection, limit=100) == 0
            assert 0 < await operations.purge(connection, retention=ROWS - 10, limit=100_000) < ROWS // 2
    plan = await _plan(crowded, sweep)
    assert "ix_operations_ended" in plan
    assert not _scans(plan), plan


@pytest.mark.parametrize("state", [None, *OperationState])
async def test_with_very_many_rows_a_page_of_operations_goes_by_the_indexes(
    crowded: Database, state: OperationState | None
) -> None:
    async with crowded.read() as connection:
        with _asked(crowded) as asked:
            first = await history.page(connection, limit=50, state=state)
            rest = await history.page(connection, limit=50, state=state, before=first[-1].id) if first else []
    number = 50 if state in {None, OperationState.PENDING, OperationState.SUCCESS} else 0
    assert (len(first), len(rest)) == (number, number)
    plan = await _plan(crowded, asked)
    assert "ix_operations_listed" in plan
    whole = [line for line in plan.splitlines() if "Seq Scan on" in line or "SCAN operations" in line]
    assert [line for line in whole if "deployments" not in line] == [], plan


@pytest.mark.parametrize(
    ("search", "index"),
    [
        (Search(), "ix_models_created_at_id"),
        (Search(sort="created"), "ix_models_created_at_id"),
        (Search(sort="-status"), "ix_models_status_created_at_id"),
        (Search(status=ModelStatus.CREATING), "ix_models_status_created_at_id"),
        (Search(status=ModelStatus.ERROR, sort="created"), "ix_models_status_created_at_id"),
    ],
    ids=str,
)
async def test_with_very_many_rows_a_page_of_models_goes_by_the_indexes(
    crowded: Database, search: Search, index: str
) -> None:
    async with crowded.begin() as connection:  # the newest and the oldest
        await connection.exec_driver_sql(f"UPDATE models SET status = 'error' WHERE fingerprint IN ('1', '{ROWS}')")
    async with crowded.read() as connection:
        with _asked(crowded) as asked:
            rows = await catalogue.find(connection, search, limit=50, offset=50)
            totals = await catalogue.totals(connection)
    assert len(rows) == (0 if search.status is ModelStatus.ERROR else 50)
    assert totals[ModelStatus.ERROR].number == 2
    plan = await _plan(crowded, asked[:1])
    assert index in plan or (search.status is ModelStatus.CREATING and "ix_models_created_at_id" in plan)
    assert not _scans(plan), plan


async def test_with_very_many_rows_the_models_of_a_status_are_not_counted_for_each_view(crowded: Database) -> None:
    figures = Figures()
    with _asked(crowded) as asked:
        async with crowded.read() as connection:
            for _ in range(50):
                totals = await figures.models.look(connection)
                total = await catalogue.count(connection, Search(status=ModelStatus.CREATING), totals)
                assert total.number == ROWS
    assert 1 <= len(asked) <= 10


async def test_with_very_many_rows_contents_are_added_up_by_an_index_alone(crowded: Database) -> None:
    async with crowded.read() as connection:
        await plain(connection).exec_driver_sql("VACUUM")
        with _asked(crowded) as asked:
            total = await contents.total(connection)
    assert total.listed == ROWS * (ROWS + 1) // 2
    assert total.own + total.shared + total.saved == total.listed
    # Of so few files PostgreSQL reads the table sooner than the index.
    plan = await _plan(crowded, asked, "SET LOCAL enable_seqscan = off")
    alone = ("Index Only Scan using", "SCAN files USING COVERING INDEX")
    assert any(f"{words} ix_files_sha256_model_id_size" in plan for words in alone), plan
    assert "Sort" not in plan, plan


async def test_with_very_many_rows_the_largest_models_are_told_without_reading_every_file(crowded: Database) -> None:
    async with crowded.begin() as connection:
        await connection.exec_driver_sql("UPDATE models SET status = 'ready'")
    async with crowded.read() as connection:
        with _asked(crowded) as asked:
            rows = await contents.largest(connection, 20)
    assert len(rows) == 20
    plan = await _plan(crowded, asked)
    assert "pk_files" in plan or "sqlite_autoindex_files" in plan
    assert "ix_files_sha256_model_id_size" in plan
    assert not [line for line in plan.splitlines() if "Seq Scan on files" in line or "SCAN files" in line], plan


async def test_however_often_the_figures_are_asked_for_the_operations_are_counted_now_and_then(
    crowded: Database, redis_url: str, tmp_path: Path
) -> None:
    volume, wakeup = Volume(PosixStore(tmp_path), writes=False), Wakeup(connect(redis_url))
    metrics = ApiMetrics(volume, crowded, Figures())
    with _asked(crowded) as asked:
        scrapes = [await metrics.scrape(Readiness(crowded, revisions(), wakeup, volume)) for _ in range(50)]
    await wakeup.close()
    counts = [statement for statement, _ in asked if "GROUP BY" in statement]
    assert 1 <= len(counts) <= 10
    # A scrape goes without what it would have to wait for too long, as on a machine that is busy.
    told = [scrape for scrape in scrapes if b"modeldepot_operations{" in scrape]
    assert told
    for scrape in told:
        assert f'modeldepot_operations{{command="create-model",state="pending"}} {PENDING:.1f}'.encode() in scrape


async def _list(database: Database, limit: int = 2 * ROWS, after: UUID | None = None) -> list[UUID]:
    async with database.read() as connection:
        place = None if after is None else await lists.model_place(connection, after)
        return [row.id for row in await lists.models(connection, place, limit)]


@contextmanager
def _asked(database: Database) -> Iterator[list[tuple[str, Any]]]:
    """Every statement that the block sends, with its parameters."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    engines = [database.writer.sync_engine, database.reader.sync_engine]
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    yield asked
    for engine in engines:
        event.remove(engine, "before_cursor_execute", note)


async def _plan(database: Database, asked: list[tuple[str, Any]], setting: str = "") -> str:
    """`setting` is a statement for PostgreSQL's planner."""
    async with database.begin() as connection:
        if setting and connection.dialect.name == "postgresql":
            await connection.exec_driver_sql(setting)
        lines = [line for statement, parameters in asked for line in await _explain(connection, statement, parameters)]
    return "\n".join(lines)


async def _explain(connection: AsyncConnection, statement: str, parameters: Any) -> list[str]:
    word = "EXPLAIN" if connection.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
    rows = (await connection.exec_driver_sql(f"{word} {statement}", parameters)).all()
    return [str(row[-1]) for row in rows]


def _scans(plan: str) -> list[str]:
    """The lines that tell of reading a table from its beginning to its end, or of sorting it."""
    marks = ("Seq Scan on", "Sort", "SCAN models", "SCAN operations", "SCAN fetches", "SCAN waits", "TEMP B-TREE")
    return [line for line in plan.splitlines() if any(mark in line for mark in marks) and "USING INDEX" not in line]
