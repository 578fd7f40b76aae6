"""Checks credentials: a signature, or a key and its secret as a bearer token or, for the Hub's clients, as Basic."""

import base64
import binascii
import hmac
import ipaddress
import math
import time
from typing import NamedTuple

import structlog
from fastapi import Request
from starlette.exceptions import HTTPException

from app.domain.keys import KEY_ID, split_token
from app.http import signature
from app.http.keyring import Key, Keyring
from app.http.throttle import Throttle

READS = frozenset({"GET", "HEAD"})
"""The methods that a reader may use."""
_CONTRACT_SCHEMES = frozenset({"bearer", signature.SCHEME})
_HUB_SCHEMES = _CONTRACT_SCHEMES | {"basic"}
"""The schemes of `Authorization` that the contract's routes accept, and those that the Hub's do."""
_BRINGS_BODY = frozenset({b"content-length", b"transfer-encoding"})
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="modeldepot", EXO2-HMAC-SHA256'}
_HUB_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="modeldepot", Basic realm="modeldepot"'}
_ASK = "set HF_TOKEN to a key of this depot, as `modeldepot key create --role reader` prints it."
_NO_KEY = f"This depot gives models to those with a key only: {_ASK}"
_FOREIGN = f"The token that was sent is no key of this depot, which takes no tokens of the Hub's: {_ASK}"
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
    """Checks callers' keys. `prefix` is the path under which clients see this server, such as `/depot`.

    `anonymous_pull` opens what `admit_pull` is asked for, and nothing else, to callers without a key.
    """

    def __init__(self, keyring: Keyring, prefix: str, *, anonymous_pull: bool = False) -> None:
        self._keyring, self._prefix, self._anonymous_pull = keyring, prefix.encode(), anonymous_pull
        # A burst of failures for each address and each key; correct credentials are never counted.
        self._failures = Throttle(burst=20, per_second=0.2)

    async def admit(self, request: Request) -> Key:
        """Return the caller's key, whatever its role. Raises `HTTPException`: 401, 403 or, for many failures, 429."""
        scheme, rest = _authorization(request)
        if scheme not in _CONTRACT_SCHEMES:
            raise HTTPException(401, _NONE_GIVEN, _CHALLENGE)
        claim = _claim(scheme, rest)
        if claim is None:
            raise self._refusal(request, None, "malformed", _REFUSED)
        return await self._used(request, claim)

    async def admit_pull(self, request: Request) -> Key | None:
        """Return the key of a caller of the Hub's routes, whatever its role; None for an anonymous one, if these may pull.

        Raises `HTTPException` with 401 only, as the Hub's clients hide what other refusals say. What can't be a key of a
        depot, such as a token of the Hub, is neither logged nor counted as a failure.
        """
        scheme, rest = _authorization(request)
        claim = _claim(scheme, rest) if scheme in _HUB_SCHEMES else None
        if claim is None:
            if self._anonymous_pull:
                return None
            raise HTTPException(401, _FOREIGN if scheme else _NO_KEY, _HUB_CHALLENGE)
        try:
            return await self._used(request, claim)
        except HTTPException as error:
            raise HTTPException(401, error.detail, _HUB_CHALLENGE) from None

    async def sign_in(self, request: Request, key_id: str, secret: str) -> Key:
        """Return the key that a person typed in. Raises `HTTPException`: 403 or, for too many failures, 429."""
        if not KEY_ID.fullmatch(key_id):
            raise self._refusal(request, None, "malformed", _REFUSED)
        return await self._used(request, _Claim(key_id, secret.encode()))

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

    async def _used(self, request: Request, claim: _Claim) -> Key:
        key = await self._proven(request, claim)
        self._keyring.note_use(key)
        return key

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


def _authorization(request: Request) -> tuple[str, str]:
    """Return the scheme, in lower case, and the credentials; empty if there are none."""
    scheme, _, rest = request.headers.get("authorization", "").strip().partition(" ")
    return scheme.lower(), rest.strip()


def _claim(scheme: str, rest: str) -> _Claim | None:
    """Return what the caller claims; None if it can't be a key of a depot."""
    if scheme == signature.SCHEME:
        found = signature.parse(rest)
        return _Claim(found.key_id, found) if found and KEY_ID.fullmatch(found.key_id) else None
    if scheme == "basic":
        try:
            rest = base64.b64decode(rest, validate=True).decode("latin-1")
        except (binascii.Error, ValueError):
            return None
    pair = split_token(rest)
    return _Claim(pair[0], pair[1].encode("latin-1")) if pair else None


def _network(where: str) -> str:
    """Return the address or, as one machine can use a whole IPv6 /64, that network."""
    try:
        found = ipaddress.ip_address(where)
    except ValueError:
        return where
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else where
