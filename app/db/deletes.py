"""DELETE of a limited number of rows: who deletes very many at once keeps all others from writing on SQLite."""

from typing import Any

from sqlalchemy import ColumnElement, Delete, delete, select


def delete_some(table: Any, *which: ColumnElement[bool], limit: int) -> Delete:
    """Return a DELETE of at most `limit` of the rows for which all of `which` are true. The key is the column `id`."""
    some = select(table.id).where(*which).limit(limit)
    # Twice: of a row that another transaction has just changed, PostgreSQL checks only these again.
    return delete(table).where(table.id.in_(some), *which)
