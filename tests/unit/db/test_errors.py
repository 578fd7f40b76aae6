"""What a driver raises becomes `DatabaseUnreachable` in one place, and a wrong statement never does."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from app.db.errors import DatabaseUnreachable
from app.db.session import Database, PersistentReader, Reader, open_database
from tests.by_hand import plain
from tests.processes import free_port

Opened = Callable[[], AbstractAsyncContextManager[Reader]]
_WAYS: dict[str, Callable[[Database], Opened]] = {
    "begin": lambda database: database.begin,
    "read": lambda database: database.read,
    "kept": lambda database: PersistentReader(database).read,
}
ways = pytest.mark.parametrize("way", _WAYS)
POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


async def _run(opened: Opened, statement: str) -> None:
    async with opened() as connection:
        await plain(connection).execute(text(statement))


@ways
@pytest.mark.parametrize("statement", ["SELECT FROM WHERE", "INSERT INTO models (id) VALUES (NULL)"])
async def test_a_wrong_statement_is_told_as_what_it_is(database: Database, way: str, statement: str) -> None:
    with pytest.raises(DBAPIError):
        await _run(_WAYS[way](database), statement)


@ways
@pytest.mark.parametrize("statement", ["SELECT 1 FROM no_such", "SELECT no_such FROM models"])
async def test_a_database_of_an_older_version_is_to_be_migrated(database: Database, way: str, statement: str) -> None:
    with pytest.raises(DatabaseUnreachable, match="lacks a table or column") as raised:
        await _run(_WAYS[way](database), statement)
    assert raised.value.is_lasting
    assert "modeldepot migrate" in raised.value.advice


@ways
@POSTGRESQL
@pytest.mark.parametrize("wrong", [{"username": "nobody", "password": "none"}, {"database": "nothing"}])
async def test_a_database_that_refuses_says_what_to_look_at(database_url: str, way: str, wrong: dict[str, str]) -> None:
    address = make_url(database_url).set(**wrong)  # type: ignore[arg-type]
    database = open_database(address.render_as_string(hide_password=False))
    with pytest.raises(DatabaseUnreachable, match="refuses the user, or does not exist") as raised:
        await _run(_WAYS[way](database), "SELECT 1")
    assert raised.value.is_lasting
    assert "DEPOT_DATABASE_URL" in raised.value.advice
    await database.close()


@ways
async def test_a_database_that_is_away_may_come_back(way: str) -> None:
    database = open_database(f"postgresql://depot:secret@127.0.0.1:{free_port()}/depot")
    with pytest.raises(DatabaseUnreachable, match="can't be reached") as raised:
        await _run(_WAYS[way](database), "SELECT 1")
    assert not raised.value.is_lasting
    assert "secret" not in f"{raised.value} {raised.value.advice} {raised.value.cause}"
    await database.close()


@POSTGRESQL
async def test_a_database_that_is_too_slow_is_not_waited_for(database: Database) -> None:
    for opened in (database.begin, database.read):
        with pytest.raises(DatabaseUnreachable, match="can't be reached"):
            async with opened(within=0.2) as connection:
                await plain(connection).execute(text("SELECT pg_sleep(60)"))
        await _run(opened, "SELECT 1")


async def test_other_errors_of_the_block_pass(database: Database) -> None:
    for opened in (way(database) for way in _WAYS.values()):
        with pytest.raises(ZeroDivisionError):
            async with opened():
                raise ZeroDivisionError
