"""The signature that the public clients send: what it says, and whether it fits the request.

`EXO2-HMAC-SHA256 credential=<key>,[signed-query-args=a;b,]expires=<unix seconds>,signature=<base64>` is over the method
and escaped path, the body, the named query parameters' values, no headers, and the expiry, each on a line of its own.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import parse_qs

SCHEME = "exo2-hmac-sha256"
LONGEST, LATE = 3600, 60
"""Seconds ahead that a signature may expire, and seconds after which it is still taken: the Java SDK's expires at once.

Together they are how long one that was overheard can be sent again.
"""
_PARAMETERS = re.compile(
    r"credential=([^,\s]{1,64}),(?:signed-query-args=([^,]{0,4000}),)?expires=([0-9]{1,12}),signature=([A-Za-z0-9+/]{43}=)"
)
_MOST_FIELDS = 100


class Signature(NamedTuple):
    """What the header says."""

    key_id: str
    signed: tuple[str, ...]
    """The query parameters that were signed."""
    expires: str
    digest: bytes


class Signed(NamedTuple):
    """What of a request is signed. `paths` are the ones that its sender may have seen, of which a proxy changed one."""

    method: str
    paths: tuple[bytes, ...]
    query: bytes
    body: bytes


def parse(parameters: str) -> Signature | None:
    """From what follows the scheme; `None` if it is malformed."""
    found = _PARAMETERS.fullmatch(parameters)
    if not found:
        return None
    key_id, names, expires, digest = found.groups()
    return Signature(key_id, tuple(names.split(";")) if names else (), expires, base64.b64decode(digest))


def fits(signature: Signature, request: Signed, secret: bytes) -> bool:
    """Whether it was made with `secret`, for this request. Takes as long when it was not."""
    try:
        query = parse_qs(request.query.decode("latin-1"), max_num_fields=_MOST_FIELDS) if request.query else {}
    except ValueError:
        return False
    values = "".join(query.get(name, [""])[0] for name in signature.signed).encode()
    rest = b"\n".join((b"", request.body, values, b"", signature.expires.encode()))
    wanted = [_digest(secret, f"{request.method} ".encode() + path + rest) for path in request.paths]
    # One with several values has none that clients sign: anybody could have added it.
    all_signed = query.keys() <= set(signature.signed) and all(len(given) == 1 for given in query.values())
    return _any_equal(wanted, signature.digest) and all_signed


def is_current(signature: Signature, now: float) -> bool:
    """Whether it expired at most `LATE` seconds before `now` (Unix time), or expires at most `LONGEST` after it."""
    return now - LATE <= int(signature.expires) <= now + LONGEST


def _digest(secret: bytes, message: bytes) -> bytes:
    return hmac.digest(secret, message, hashlib.sha256)


def _any_equal(wanted: Iterable[bytes], given: bytes) -> bool:
    return any([hmac.compare_digest(one, given) for one in wanted])  # noqa: C419  # compares them all, always
