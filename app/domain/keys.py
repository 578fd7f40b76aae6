"""API keys: their format, and what their holders may do."""

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
"""Arbitrary. Changing it changes the UUID of every key."""


class Role(StrEnum):
    """What the holder of a key may do.

    reader    look: GET
    operator  everything
    """

    READER = "reader"
    OPERATOR = "operator"


def is_name(text: str) -> bool:
    """Return whether a key may have this name. The empty name passes: the caller checks it."""
    return len(text) <= LONGEST_NAME and text.isprintable()


def new_id() -> str:
    """Return a new key's id, in the format of the public clients."""
    return "EXO" + "".join(secrets.choice(_DIGITS) for _ in range(24))


def identity(key_id: str) -> UUID:
    """Return the UUID by which clients of the hosted API know a key."""
    return uuid5(_IDENTITIES, key_id)


def new_secret() -> str:
    """Return a new key's secret: 256 random bits."""
    return secrets.token_urlsafe(32)
