"""INSERT with an ON CONFLICT clause, which PostgreSQL and SQLite spell alike and SQLAlchemy leaves to each dialect."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite

INSERT: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
)
"""The key is the name of a connection's dialect."""
