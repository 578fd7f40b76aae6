"""Seals secrets that must be read back (Hub tokens) before they are stored.

AES-256-GCM with a random 96-bit nonce (NIST SP 800-38D). A sealed text is bound to what it belongs to, so it can't be
moved to another row, and names the key that sealed it: `v1.<key id>.<base64 of nonce, ciphertext and tag>`.
"""

import base64
import binascii
import hashlib
import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY_BYTES = 32
_NONCE_BYTES = 12
_HOW_TO_MAKE_ONE = "make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"


class CannotOpen(Exception):
    """The text was sealed with a key that this process lacks, belongs to another row, or was changed."""


def new_key() -> str:
    """Return a fresh secret key, as text."""
    return secrets.token_urlsafe(_KEY_BYTES)


class Sealer:
    """Seals with the first of several keys and opens with any of them. A key is 32 bytes in (URL-safe) base64."""

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise ValueError(f"at least one key is needed; {_HOW_TO_MAKE_ONE}")
        self._ciphers = {key_id: AESGCM(key) for key_id, key in map(_decode, keys)}
        self._first = next(iter(self._ciphers))

    def seal(self, secret: str, *, belongs_to: str) -> str:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        box = self._ciphers[self._first].encrypt(nonce, secret.encode(), belongs_to.encode())
        return f"v1.{self._first}.{base64.b64encode(nonce + box).decode()}"

    def open(self, sealed: str, *, belongs_to: str) -> str:
        """Return the secret. Raises `CannotOpen`."""
        try:
            version, key_id, text = sealed.split(".")
            box = base64.b64decode(text, validate=True)
            cipher = self._ciphers[key_id]
            if version != "v1":
                raise CannotOpen(f"sealed by a newer version ({version})")
            return cipher.decrypt(box[:_NONCE_BYTES], box[_NONCE_BYTES:], belongs_to.encode()).decode()
        except KeyError:
            raise CannotOpen("sealed with a key that this process was not given") from None
        except (ValueError, InvalidTag, binascii.Error):
            raise CannotOpen("not sealed for this row, or damaged") from None


def _decode(key: str) -> tuple[str, bytes]:
    """Return the key's id (8 hexadecimal digits of its hash) and its bytes."""
    try:
        raw = base64.b64decode(key.strip().translate(str.maketrans("-_", "+/")) + "==")
    except (ValueError, binascii.Error):
        raw = b""
    if len(raw) != _KEY_BYTES:
        raise ValueError(f"each key must be {_KEY_BYTES} bytes in base64; {_HOW_TO_MAKE_ONE}")
    return hashlib.sha256(b"modeldepot key id" + raw).hexdigest()[:8], raw
