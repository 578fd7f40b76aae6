"""API keys: what they look like, and what their holders may do."""

import re
import secrets
from enum import StrEnum
from uuid import UUID, uuid5

KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{2,63}")
SECRET = re.compile(r"[\x21-\x7e]{16,200}")
"""Printable ASCII without spaces: it has to fit into a header."""
LONGEST_NAME = 200
"""Characters."""
_DIGITS = "0123456789abcdef"
_IDENTITIES = UUID("5f0ab1c9-6b8e-4c52-9d0d-0a6d1f6f4f0e")
"""Arbitrary. With another one all keys have other UUIDs."""


class Role(StrEnum):
    """What the holder of a key may do.

    reader    look: GET
    operator  everything
    """

    READER = "reader"
    OPERATOR = "operator"


def is_name(text: str) -> bool:
    """Whether a key may be called so. The empty name is for the caller to judge."""
    return len(text) <= LONGEST_NAME and text.isprintable()


def new_id() -> str:
    """A fresh key's id, in the form that the public clients know."""
    return "EXO" + "".join(secrets.choice(_DIGITS) for _ in range(24))


def identity(key_id: str) -> UUID:
    """The UUID by which clients of the hosted API know a key."""
    return uuid5(_IDENTITIES, key_id)


def new_secret() -> str:
    """A fresh key's secret: 256 random bits."""
    return secrets.token_urlsafe(32)
