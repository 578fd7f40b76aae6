"""The migrations: one line of them, from nothing to what the code expects and back, on both databases."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine

from alembic import command
from app.db.metadata import METADATA
from app.db.migrate import configuration, upgrade
from app.db.session import async_url
from tests.servers import PostgreSQL

_UPGRADE = "import sys; from app.db.migrate import upgrade; upgrade(sys.argv[1])"
_WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'models'::regclass"
TABLES = set(METADATA.tables)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database that holds nothing."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    server: PostgreSQL = request.getfixturevalue("postgresql")
    return server.empty()


def test_there_is_one_newest_revision() -> None:
    script = ScriptDirectory.from_config(configuration("sqlite://"))
    assert len(script.get_heads()) == 1
    assert len(script.get_bases()) == 1


def test_they_make_what_the_code_expects(empty: str) -> None:
    upgrade(empty)

    def differences(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, METADATA))

    assert _ask(empty, differences) == []


def test_they_make_every_constraint_by_its_name(empty: str) -> None:
    """The comparison above does not look at these."""
    upgrade(empty)

    def named(connection: Connection) -> set[str | None]:
        looked = inspect(connection)
        found: set[str | None] = set()
        for table in looked.get_table_names():
            found |= {check["name"] for check in looked.get_check_constraints(table)}
            found |= {looked.get_pk_constraint(table)["name"]}
        return found

    declared = {
        str(constraint.name)
        for table in METADATA.tables.values()
        for constraint in table.constraints
        if type(constraint).__name__ in {"CheckConstraint", "PrimaryKeyConstraint"}
    }
    assert declared <= _ask(empty, named)


def test_a_second_run_finds_nothing_to_do(empty: str) -> None:
    assert upgrade(empty) == upgrade(empty)


def test_two_runs_at_once_both_end_well(postgresql: PostgreSQL) -> None:
    address = postgresql.empty()

    program = f"from app.db.migrate import upgrade; upgrade({address!r})"
    processes = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert _ask(address, lambda connection: set(inspect(connection).get_table_names())) >= TABLES


def test_a_migration_that_waits_for_an_open_transaction_lets_other_writers_go_on(postgresql: PostgreSQL) -> None:
    address = postgresql.empty()
    command.upgrade(configuration(address), "0004")  # 0005 takes the lock of models

    async def write_meanwhile() -> int:
        async with AsyncExitStack() as stack, asyncio.timeout(60):
            reader, writer, monitor = [await asyncpg.connect(address) for _ in range(3)]
            for connection in (reader, writer, monitor):
                stack.callback(connection.terminate)
            reading = reader.transaction()
            await reading.start()
            await reader.execute("SELECT count(*) FROM models")  # as pg_dump does, for as long as that takes
            migration = await asyncio.create_subprocess_exec(sys.executable, "-c", _UPGRADE, address)
            while not await monitor.fetchval(_WAITING):  # noqa: ASYNC110  # the database tells of no event
                await asyncio.sleep(0.01)
            await writer.execute("UPDATE models SET rate = 0")
            assert migration.returncode is None
            await reading.rollback()
            return await migration.wait()

    assert asyncio.run(write_meanwhile()) == 0
    assert _ask(address, lambda connection: inspect(connection).has_table("compatibility"))


def test_each_can_be_taken_back(empty: str) -> None:
    upgrade(empty)
    config = configuration(empty)
    for _ in ScriptDirectory.from_config(config).walk_revisions():
        command.downgrade(config, "-1")
    left = _ask(empty, lambda connection: set(inspect(connection).get_table_names()))
    assert left == {"alembic_version"}
    upgrade(empty)
    assert _ask(empty, lambda connection: set(inspect(connection).get_table_names())) >= TABLES


def test_the_database_itself_keeps_a_token_from_outliving_its_operation(database_url: str) -> None:
    def store(connection: Connection) -> None:
        words = (
            "id, command, resource_id, state, sealed_token, created_at, ended_at, deadline_at, due_at, fence, attempts"
        )
        moment = "0" if connection.dialect.name == "sqlite" else "now()"
        values = (
            f"'{'0' * 32}', 'create-model', '{'1' * 32}', 'success', 'v1', {moment}, {moment}, {moment}, {moment}, 0, 0"
        )
        connection.exec_driver_sql(f"INSERT INTO operations ({words}, reached) VALUES ({values}, 0)")

    with pytest.raises(IntegrityError, match="token_wiped"):
        _ask(database_url, store)


def test_deployments_that_shared_a_name_get_names_of_their_own(empty: str) -> None:
    """The oldest keeps its name; none is lost, and none gets a name that another has."""
    config = configuration(empty)
    command.upgrade(config, "0009")
    long = "x" * 900
    names = ["chat", "chat", "other", "chat-" + "0" * 8, "chat", long, long]

    def fill(connection: Connection) -> None:
        moment = "{}" if connection.dialect.name == "sqlite" else "to_timestamp({})"
        one = f"'{'9' * 32}'"
        connection.exec_driver_sql(
            "INSERT INTO models (id, name, revision, include, exclude, fingerprint, status, deleting, created_at, updated_at)"
            f" VALUES ({one}, 'acme/model', 'main', '[]', '[]', '', 'ready', false, {moment.format(1)}, {moment.format(1)})"
        )
        for number, name in enumerate(names):
            connection.exec_driver_sql(
                "INSERT INTO deployments (id, name, model_id, status, inference_engine_parameters, created_at, updated_at)"
                f" VALUES ('{number:032x}', '{name}', {one}, 'ready', '[]', {moment.format(number)}, {moment.format(number)})"
            )
        connection.commit()

    _ask(empty, fill)
    command.upgrade(config, "0010")
    query = "SELECT name FROM deployments ORDER BY created_at"
    found = _ask(empty, lambda connection: [row[0] for row in connection.exec_driver_sql(query)])
    assert found[0] == "chat"
    assert found[2:4] == ["other", "chat-" + "0" * 8]
    # Eight digits of its id would not do: that name is another's.
    assert found[1] == "chat-" + "0" * 9
    assert found[4].startswith("chat-0000")
    assert [name[:200] for name in found[5:]] == ["x" * 200] * 2
    assert len(set(found)) == len(names)
    assert max(map(len, found)) == 250
    command.downgrade(config, "0009")
    assert _ask(empty, lambda connection: connection.exec_driver_sql(query).rowcount) is not None


def _ask(address: str, question: Callable[[Connection], Any]) -> Any:
    async def run() -> Any:
        engine = create_async_engine(async_url(address))
        try:
            async with engine.connect() as connection:
                return await connection.run_sync(question)
        finally:
            await engine.dispose()

    return asyncio.run(run())
