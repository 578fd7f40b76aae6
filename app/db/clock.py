"""Times as the database stores and returns them, the same way on PostgreSQL and on SQLite.

Times that two processes compare come from the database's clock, so the processes' own clocks may be wrong.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Dialect, Float, ScalarSelect, literal, select
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

SQLITE_CLOCK = "clock"
"""The SQL function for the time in seconds on SQLite, whose own clock has too coarse a resolution: 1 ms."""


class Timestamp(TypeDecorator[datetime]):
    """A moment: `timestamptz` on PostgreSQL, seconds since 1970 (REAL) on SQLite. In Python always aware, in UTC."""

    impl = Float
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(TIMESTAMP(timezone=True))
        return dialect.type_descriptor(Float())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None or dialect.name == "postgresql":
            return value
        return value.timestamp()

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if isinstance(value, float | int):
            return datetime.fromtimestamp(value, UTC)
        moment: datetime | None = value
        return moment


class now(FunctionElement[datetime]):  # noqa: N801  # reads as the SQL function it is
    """The database's time when the statement runs, plus `after` seconds (which may be negative).

    PostgreSQL's `now()` is the start of the transaction, which may be long ago: `clock_timestamp()` is not.
    """

    type = Timestamp()
    inherit_cache = True
    name = "now"

    def __init__(self, after: float | ColumnElement[float] = 0.0) -> None:
        super().__init__(after if isinstance(after, ColumnElement) else literal(after, Float))


class seconds(FunctionElement[float]):  # noqa: N801  # reads as the SQL function it is
    """A time as seconds since 1970."""

    type = Float()
    inherit_cache = True
    name = "seconds"


class later(FunctionElement[datetime]):  # noqa: N801  # reads as the SQL function it is
    """A time, and so many seconds."""

    type = Timestamp()
    inherit_cache = True
    name = "later"


def moment(after: float = 0.0) -> ScalarSelect[datetime]:
    """Return `now(after)`, evaluated once per statement, so that the database can use an index on times.

    PostgreSQL evaluates a volatile function for every row, and so can't use an index.
    """
    return select(now(after)).scalar_subquery()


@compiles(now, "postgresql")
def _now_postgresql(element: now, compiler: Any, **kw: Any) -> str:
    return f"(clock_timestamp() + make_interval(secs => {compiler.process(element.clauses, **kw)}))"


@compiles(now, "sqlite")
def _now_sqlite(element: now, compiler: Any, **kw: Any) -> str:
    return f"({SQLITE_CLOCK}() + {compiler.process(element.clauses, **kw)})"


@compiles(seconds, "postgresql")
def _seconds_postgresql(element: seconds, compiler: Any, **kw: Any) -> str:
    return f"CAST(extract(epoch FROM {compiler.process(element.clauses, **kw)}) AS double precision)"


@compiles(seconds, "sqlite")
def _seconds_sqlite(element: seconds, compiler: Any, **kw: Any) -> str:
    return f"({compiler.process(element.clauses, **kw)})"


@compiles(later, "postgresql")
def _later_postgresql(element: later, compiler: Any, **kw: Any) -> str:
    time, after = (compiler.process(each, **kw) for each in element.clauses)
    return f"({time} + make_interval(secs => {after}))"


@compiles(later, "sqlite")
def _later_sqlite(element: later, compiler: Any, **kw: Any) -> str:
    time, after = (compiler.process(each, **kw) for each in element.clauses)
    return f"({time} + {after})"
