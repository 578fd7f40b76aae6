"""Text that others wrote, such as the names of a repository's files, in a form that every database can store."""

from typing import Any

from sqlalchemy import Dialect, Text
from sqlalchemy.types import TypeDecorator


class Words(TypeDecorator[str]):
    r"""A text column that takes any string.

    An unpaired surrogate, which no encoding has, and a NUL, which PostgreSQL refuses, are stored as `\udc80` and `\x00`.
    Where text could not be stored, an operation could not be ended.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002
        return None if value is None else storable(value)


def storable(text: str) -> str:
    """`text` with what can't be stored escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", r"\x00")
