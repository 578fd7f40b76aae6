"""API keys: their format, and what their holders may do."""

import fnmatch
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Self
from uuid import UUID, uuid5

from app.domain.errors import BadRequest

KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{2,63}")
SECRET = re.compile(r"[\x21-\x7e]{16,200}")
"""Printable ASCII without spaces: it has to fit into a header."""
LONGEST_NAME = 200
"""Characters."""
MOST_PATTERNS = 100
_PATTERN = re.compile(r"[\w\-.*?]{1,96}/[\w\-.*?]{1,96}", re.ASCII)
_HUB_TOKEN = re.compile(r"hf_((?:[0-9a-f]{2})+)")
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


@dataclass(frozen=True)
class NameLimit:
    """The models that a key is limited to: those whose name matches a glob pattern, in any case. No patterns: all.

    A pattern has one slash, as names have, so that its `*` matches within the owner or within the name only.
    """

    patterns: tuple[str, ...] = ()

    @classmethod
    def from_text(cls, text: str | None) -> Self:
        """Return the limit that `text` is the stored form of. None: no limit."""
        return cls(tuple((text or "").split()))

    @property
    def text(self) -> str | None:
        return " ".join(self.patterns) or None

    def __bool__(self) -> bool:
        """Return whether the key is limited."""
        return bool(self.patterns)

    def permits(self, name: str) -> bool:
        return not self.patterns or self._matcher.fullmatch(name) is not None

    @cached_property
    def _matcher(self) -> re.Pattern[str]:
        return re.compile("|".join(map(fnmatch.translate, self.patterns)), re.ASCII | re.IGNORECASE)


UNLIMITED = NameLimit()


def limit_to(patterns: Sequence[str]) -> NameLimit:
    """Return the limit with these patterns, each once. Raises `BadRequest`."""
    if len(patterns) > MOST_PATTERNS:
        raise BadRequest(f"'models' takes at most {MOST_PATTERNS} patterns.", field="models")
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern):
            raise BadRequest(
                "'models' takes names and glob patterns of 'owner/name', for example 'meta-llama/*', with '*' for any "
                "characters and '?' for one. Leave it out for all models.",
                field="models",
            )
    return NameLimit(tuple(dict.fromkeys(patterns)))


def hub_token(key_id: str, secret: str) -> str:
    """Return a key and its secret in the form of the Hub's tokens, which some of the Hub's clients insist on."""
    return "hf_" + f"{key_id}:{secret}".encode().hex()


def split_token(token: str) -> tuple[str, str] | None:
    """Return the id and the secret in `<key>:<secret>` or in what `hub_token` returns; None if it is neither."""
    if found := _HUB_TOKEN.fullmatch(token):
        token = bytes.fromhex(found[1]).decode("latin-1")
    key_id, _, secret = token.partition(":")
    return (key_id, secret) if secret and KEY_ID.fullmatch(key_id) else None


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
