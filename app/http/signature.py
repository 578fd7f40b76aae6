"""Parses and checks the signature that the public clients send.

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
"""Seconds ahead that a signature may expire, and seconds after that it is accepted: the Java SDK's expires at once.

Together they are how long a captured signature can be replayed.
"""
_PARAMETERS = re.compile(
    r"credential=([^,\s]{1,64}),(?:signed-query-args=([^,]{0,4000}),)?expires=([0-9]{1,12}),signature=([A-Za-z0-9+/]{43}=)"
)
_MOST_FIELDS = 100


class Signature(NamedTuple):
    """The header's content."""

    key_id: str
    signed: tuple[str, ...]
    """The query parameters that were signed."""
    expires: str
    digest: bytes


class Signed(NamedTuple):
    """The signed parts of a request. `paths`: those that its sender may have signed, as a proxy may change the path."""

    method: str
    paths: tuple[bytes, ...]
    query: bytes
    body: bytes


def parse(parameters: str) -> Signature | None:
    """Parse what follows the scheme; `None` if it is malformed."""
    found = _PARAMETERS.fullmatch(parameters)
    if not found:
        return None
    key_id, names, expires, digest = found.groups()
    return Signature(key_id, tuple(names.split(";")) if names else (), expires, base64.b64decode(digest))


def fits(signature: Signature, request: Signed, secret: bytes) -> bool:
    """Return whether `secret` made the signature for this request. A mismatch takes equally long."""
    try:
        query = parse_qs(request.query.decode("latin-1"), max_num_fields=_MOST_FIELDS) if request.query else {}
    except ValueError:
        return False
    values = "".join(query.get(name, [""])[0] for name in signature.signed).encode()
    rest = b"\n".join((b"", request.body, values, b"", signature.expires.encode()))
    wanted = [_digest(secret, f"{request.method} ".encode() + path + rest) for path in request.paths]
    # Clients sign no parameter with several values: anybody could have added one.
    all_signed = query.keys() <= set(signature.signed) and all(len(given) == 1 for given in query.values())
    return _any_equal(wanted, signature.digest) and all_signed


def is_current(signature: Signature, now: float) -> bool:
    """Return whether it expires between `LATE` seconds before `now` (Unix time) and `LONGEST` seconds after it."""
    return now - LATE <= int(signature.expires) <= now + LONGEST


def _digest(secret: bytes, message: bytes) -> bytes:
    return hmac.digest(secret, message, hashlib.sha256)


def _any_equal(wanted: Iterable[bytes], given: bytes) -> bool:
    return any([hmac.compare_digest(one, given) for one in wanted])  # noqa: C419  # compares them all, always
