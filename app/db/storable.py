"""Text of foreign origin, such as a repository's file names, in a form that every database can store."""

from typing import Any

from sqlalchemy import Dialect, Text
from sqlalchemy.types import TypeDecorator


class StorableText(TypeDecorator[str]):
    r"""A text column that takes any string.

    Unpaired surrogates, which can't be encoded, and NUL, which PostgreSQL refuses, are stored as `\udc80` and `\x00`.
    If a text could not be stored, its operation could not be ended.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002
        return None if value is None else storable(value)


def storable(text: str) -> str:
    """Return `text` with the characters that can't be stored escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", r"\x00")
