"""Why a database can't be used: `Database` turns its driver's errors into `DatabaseUnreachable`.

SQLite gives the reason as a result code (https://www.sqlite.org/rescode.html), PostgreSQL as an SQLSTATE (appendix A of
its manual: 53100 is disk_full, 25006 is read_only_sql_transaction, 42P01 and 42703 are an undefined table and column,
class 28 is a refused user, 3D000 a database that does not exist).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

_AWAY = "The database can't be reached."
_FULL = "The disk that the database is on is full."
_READ_ONLY = "The database is read-only."
_REFUSED = "The database refuses the user, or does not exist."
_OLD = "The database lacks a table or column that this version needs."
_DO = {
    _AWAY: "Look at whether it runs, and at DEPOT_DATABASE_URL.",
    _FULL: "Free some space: a DELETE of a model is still accepted where the database is SQLite.",
    _READ_ONLY: "Look at how its disk is mounted, and whether it is a PostgreSQL standby.",
    _REFUSED: "Look at the user, the password and the name in DEPOT_DATABASE_URL.",
    _OLD: "Run `modeldepot migrate`.",
}
_WRONG_STATEMENT = {"0A", "21", "22", "23", "42"}
"""PostgreSQL's SQLSTATE classes of errors in a statement or in its values."""
_RAISED = (DBAPIError, PoolTimeout, OSError, asyncpg.PostgresError)
"""SQLAlchemy's and the drivers' errors. A timeout is an `OSError`; asyncpg's own errors come while it connects."""


class DatabaseUnreachable(Exception):
    """The database can't be used now: it is unreachable, too busy, full, read-only or not migrated.

    `str()` is a sentence that says which of these, `advice` a sentence that says what to do, `explanation` both. `cause`
    is the class name of the original error. `is_lasting`: an operator has to act.
    """

    def __init__(self, error: BaseException) -> None:
        reason = _reason(error)
        super().__init__(reason)
        self.advice = _DO[reason]
        self.cause = type(error).__name__
        self.explanation = f"{reason} {self.advice}"
        self.is_full = reason == _FULL
        self.is_lasting = reason in {_REFUSED, _OLD}


@contextmanager
def translated() -> Iterator[None]:
    """Turn errors of an unusable database into `DatabaseUnreachable`; a wrong statement's error passes unchanged."""
    try:
        yield
    except _RAISED as error:
        if _is_wrong_statement(error) and _reason(error) != _OLD:
            raise
        raise DatabaseUnreachable(error) from error


def _is_wrong_statement(error: BaseException) -> bool:
    if not isinstance(error, DBAPIError):
        return False
    if isinstance(error, IntegrityError | ProgrammingError | DataError | NotSupportedError):
        return True
    # The drivers' classes do not cover a text that is too long with PostgreSQL, nor a typo with SQLite.
    state = str(getattr(error.orig, "sqlstate", None) or "")
    return state[:2] in _WRONG_STATEMENT or getattr(error.orig, "sqlite_errorname", None) == "SQLITE_ERROR"


def _reason(error: BaseException) -> str:
    original: Any = error.orig if isinstance(error, DBAPIError) else error
    code = str(getattr(original, "sqlite_errorname", ""))
    state = str(getattr(original, "sqlstate", None) or "")
    # SQLITE_IOERR_SHMSIZE: no space for the index of the write-ahead log.
    if code in {"SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"} or state == "53100":
        return _FULL
    if code.startswith("SQLITE_READONLY") or state == "25006":
        return _READ_ONLY
    if state.startswith("28") or state == "3D000":
        return _REFUSED
    if state in {"42P01", "42703"} or str(original).startswith(("no such table", "no such column")):
        return _OLD
    return _AWAY
