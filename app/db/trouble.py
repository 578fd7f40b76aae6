"""Why a database that may well be reached can't be written: its disk is full, or it is read-only.

SQLite says so by its result codes (https://www.sqlite.org/rescode.html), PostgreSQL by its SQLSTATEs (appendix A of its
manual: 53100 is disk_full, 25006 is read_only_sql_transaction).
"""

from sqlalchemy.exc import DBAPIError

_AWAY = "The database can't be reached."
_FULL = "The disk that the database is on is full."
_READ_ONLY = "The database is read-only."
_DO = {
    _AWAY: "Look at whether it runs, and at DEPOT_DATABASE_URL.",
    _FULL: "Free some space: a DELETE of a model is still accepted where the database is SQLite.",
    _READ_ONLY: "Look at how its disk is mounted, and whether it is a PostgreSQL standby.",
}


def is_full(error: BaseException) -> bool:
    return what(error) == _FULL


def advice(error: BaseException) -> str:
    """A sentence on why the database can't be used, and one on what the operator may do."""
    why = what(error)
    return f"{why} {_DO[why]}"


def what(error: BaseException) -> str:
    """A sentence on why the database can't be used."""
    original = error.orig if isinstance(error, DBAPIError) else error
    code = str(getattr(original, "sqlite_errorname", ""))
    state = getattr(original, "sqlstate", None)
    # The second: no room for the index of its log.
    if code in {"SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"} or state == "53100":
        return _FULL
    if code.startswith("SQLITE_READONLY") or state == "25006":
        return _READ_ONLY
    return _AWAY
