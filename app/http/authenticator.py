"""Checks credentials: a signature, or a key and its secret as a bearer token."""

import hmac
import ipaddress
import math
import time
from typing import NamedTuple

import structlog
from fastapi import Request
from starlette.exceptions import HTTPException

from app.domain.keys import KEY_ID
from app.http import signature
from app.http.keyring import Key, Keyring
from app.http.throttle import Failures

READS = frozenset({"GET", "HEAD"})
"""The methods that a reader may use."""
_BRINGS_BODY = frozenset({b"content-length", b"transfer-encoding"})
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="modeldepot", EXO2-HMAC-SHA256'}
_NONE_GIVEN = (
    "This needs an API key: send 'Authorization: Bearer <key>:<secret>', or sign the request as the SDKs do. "
    "`modeldepot key create` makes a key."
)
_REFUSED = (
    "These credentials are not accepted: the key is unknown, revoked or expired, or the secret or the signature is wrong. "
    "`modeldepot key list` shows the keys there are."
)
_NOT_CURRENT = (
    "The signature expired more than a minute ago, or expires more than an hour ahead: "
    "sign each request anew, and check the clocks of client and server."
)
_TOO_MANY = "Too many requests with wrong credentials came from this address or for this key. Try again later."

log = structlog.get_logger()


class _Claim(NamedTuple):
    """The header's content: a bearer's secret, or a signature."""

    key_id: str
    proof: bytes | signature.Signature


class Authenticator:
    """Checks callers' keys. `prefix` is the path under which clients see this server, such as `/depot`."""

    def __init__(self, keyring: Keyring, prefix: str) -> None:
        self._keyring, self._prefix = keyring, prefix.encode()
        self._failures = Failures()

    async def admit(self, request: Request) -> Key:
        """Return the caller's key, whatever its role. Raises `HTTPException`: 401, 403 or, for many failures, 429."""
        header = request.headers.get("authorization")
        if not header:
            raise HTTPException(401, _NONE_GIVEN, _CHALLENGE)
        scheme, _, rest = header.partition(" ")
        if scheme.lower() not in ("bearer", signature.SCHEME):
            raise HTTPException(401, _NONE_GIVEN, _CHALLENGE)
        claim = _claim(scheme.lower(), rest)
        if claim is None:
            raise self._refusal(request, None, "malformed", _REFUSED)
        key = await self._proven(request, claim)
        self._keyring.note_use(key)
        return key

    async def sign_in(self, request: Request, key_id: str, secret: str) -> Key:
        """Return the key that a person typed in. Raises `HTTPException`: 403 or, for too many failures, 429."""
        if not KEY_ID.fullmatch(key_id):
            raise self._refusal(request, None, "malformed", _REFUSED)
        key = await self._proven(request, _Claim(key_id, secret.encode()))
        self._keyring.note_use(key)
        return key

    async def signed_in(self, key_id: str) -> Key | None:
        """Return the key of a caller who proved it before; None if it may no longer be used."""
        key = await self._keyring.find(key_id)
        if key is not None:
            self._keyring.note_use(key)
        return key

    async def find(self, key_id: str) -> Key | None:
        """Return a usable key by its id. The caller proves nothing."""
        return await self._keyring.find(key_id) if KEY_ID.fullmatch(key_id) else None

    async def still_opens(self, key: Key) -> bool:
        """Return whether `key`, which opened a stream, may still be used, with the same secret."""
        found = await self.signed_in(key.id)
        return found is not None and hmac.compare_digest(found.secret, key.secret)

    async def _proven(self, request: Request, claim: _Claim) -> Key:
        key = await self._keyring.find(claim.key_id)
        if key is None:
            # Ids are not secret: a stranger's body is not read just to hide which ids exist.
            raise self._refusal(request, claim, "no such key", _REFUSED)
        if isinstance(claim.proof, signature.Signature) and not signature.is_current(claim.proof, time.time()):
            raise self._refusal(request, claim, "expired, or too far ahead", _NOT_CURRENT, key)
        if not await self._fits(request, claim, key.secret):
            raise self._refusal(request, claim, "wrong secret or signature", _REFUSED, key)
        return key

    async def _fits(self, request: Request, claim: _Claim, secret: bytes) -> bool:
        if isinstance(claim.proof, bytes):
            return hmac.compare_digest(claim.proof, secret)
        raw: bytes = request.scope["raw_path"]
        paths = (raw, raw.removeprefix(self._prefix)) if self._prefix else (raw,)
        # Waiting for a body that no header announces takes longer than checking the signature.
        body = await request.body() if any(name in _BRINGS_BODY for name, _ in request.scope["headers"]) else b""
        signed = signature.Signed(request.method, paths, request.scope["query_string"], body)
        return signature.fits(claim.proof, signed, secret)

    def _refusal(
        self, request: Request, claim: _Claim | None, why: str, message: str, key: Key | None = None
    ) -> HTTPException:
        where = address(request)
        # An unknown id may be a secret in the wrong place, so it is not logged.
        known = key.id if key else claim.key_id if claim and claim.key_id.startswith("EXO") else None
        wait = self._failures.note([f"from {_network(where)}", *([f"for {claim.key_id}"] if claim else [])])
        if wait:
            return HTTPException(429, _TOO_MANY, {"Retry-After": str(math.ceil(wait))})
        log.warning("credentials refused", key=known, address=where, why=why)
        return HTTPException(403, message)


def address(request: Request) -> str:
    """Return the request's IP address, or `unknown` if a trusted proxy reported something else."""
    try:
        return str(ipaddress.ip_address(request.client.host if request.client else ""))
    except ValueError:
        return "unknown"


def _claim(scheme: str, rest: str) -> _Claim | None:
    if scheme == signature.SCHEME:
        found = signature.parse(rest)
        return _Claim(found.key_id, found) if found and KEY_ID.fullmatch(found.key_id) else None
    key_id, _, secret = rest.strip().partition(":")
    return _Claim(key_id, secret.encode("latin-1")) if secret and KEY_ID.fullmatch(key_id) else None


def _network(where: str) -> str:
    """Return the address or, as one machine can use a whole IPv6 /64, that network."""
    try:
        found = ipaddress.ip_address(where)
    except ValueError:
        return where
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else where
