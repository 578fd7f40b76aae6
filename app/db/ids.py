"""Many ids as one parameter, so that one prepared statement serves any number of them."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Boolean, Dialect, Uuid, bindparam
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine


class _Ids(TypeDecorator[Sequence[UUID]]):
    """An array on PostgreSQL; on SQLite, JSON of their hexadecimal digits, as `Uuid` stores them."""

    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(ARRAY(Uuid()) if dialect.name == "postgresql" else JSON())

    def process_bind_param(self, value: Sequence[UUID] | None, dialect: Dialect) -> Any:
        return value if value is None or dialect.name == "postgresql" else [one.hex for one in value]


class among(FunctionElement[bool]):  # noqa: N801  # reads as the condition that it is
    """True if the column's id is one of the ids in the statement's parameter `name`."""

    type = Boolean()
    inherit_cache = True
    name = "among"

    def __init__(self, column: Any, name: str) -> None:
        super().__init__(column, bindparam(name, type_=_Ids()))


@compiles(among, "postgresql")
def _among_postgresql(element: among, compiler: Any, **kw: Any) -> str:
    column, ids = (compiler.process(part, **kw) for part in element.clauses)
    return f"({column} = ANY ({ids}))"


@compiles(among, "sqlite")
def _among_sqlite(element: among, compiler: Any, **kw: Any) -> str:
    column, ids = (compiler.process(part, **kw) for part in element.clauses)
    return f"({column} IN (SELECT value FROM json_each({ids})))"  # noqa: S608  # SQLAlchemy compiles both
