"""The signature against arbitrary input: it never crashes and never opens, and agrees with the public client's signer.

`HYPOTHESIS_PROFILE=thorough` tries 20,000 cases of each instead of 100.
"""

import asyncio
import base64
import re
import shutil
import string
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from exoscale_auth import ExoscaleV2Auth
from fastapi import Request
from hypothesis import assume, example, given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from app.db.session import open_database
from app.http.authenticator import Authenticator
from app.http.keyring import Keyring
from app.sealing import Sealer, new_key
from app.services import keys
from tests.depot import KEY, SECRET

_SCHEME = "EXO2-HMAC-SHA256 "
_NAMES = re.compile("signed-query-args=[^,]*,")


@dataclass(frozen=True)
class Asked:
    """A request, as much of it as is signed."""

    method: str
    path: str
    query: str
    body: bytes

    def signed(self, expires: int, secret: str = SECRET) -> str:
        """The header that the public client sends with it."""
        address = f"http://depot{self.path}" + (f"?{self.query}" if self.query else "")
        request = SimpleNamespace(method=self.method, url=address, body=self.body, headers={})
        ExoscaleV2Auth(KEY, secret)._sign_request(request, expires)
        header: str = request.headers["Authorization"]
        return header


class Door:
    """The real gate, on a real database, asked by hand."""

    def __init__(self, runner: asyncio.Runner, authenticator: Authenticator) -> None:
        self._runner, self._gate = runner, authenticator

    def opens(self, header: str, asked: Asked) -> bool:
        """Whether the gate lets it in. What it raises other than a refusal fails the test."""
        length = [(b"content-length", str(len(asked.body)).encode())] if asked.body else []
        scope: dict[str, Any] = {
            "type": "http",
            "method": asked.method,
            "path": asked.path,
            "raw_path": asked.path.encode(),
            "query_string": asked.query.encode(),
            "headers": [(b"authorization", header.encode("latin-1")), *length],
            "client": ("192.0.2.7", 4711),
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": asked.body, "more_body": False}

        try:
            return self._runner.run(self._gate.admit(Request(scope, receive))).id == KEY
        except HTTPException as refusal:
            assert refusal.status_code in {401, 403, 429}  # noqa: PT017  # the value is what it returns or raises
            return False


@pytest.fixture(scope="module")
def door(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    path = tmp_path_factory.mktemp("door") / "depot.sqlite3"
    shutil.copy(migrated_sqlite, path)
    sealer, database = Sealer([new_key()]), open_database(f"sqlite:///{path}")

    async def make() -> Authenticator:
        async with database.begin() as connection:
            await keys.keep(connection, sealer, KEY, SECRET, name="of the tests")
        return Authenticator(Keyring(database, sealer), "")

    with asyncio.Runner() as runner:
        yield Door(runner, runner.run(make()))
        runner.run(database.close())


LATIN = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=60)
SEGMENTS = st.text(string.ascii_letters + string.digits + "-._~ %/ü€", min_size=1, max_size=12)
PATHS = st.lists(SEGMENTS.map(lambda text: quote(text, safe="")), min_size=1, max_size=5).map(
    lambda parts: "/" + "/".join(parts)
)
NAMES = st.text(string.ascii_lowercase + "-", min_size=1, max_size=6)
QUERIES = st.dictionaries(NAMES, st.text(max_size=8), max_size=5).map(urlencode)
REQUESTS = st.builds(
    Asked, st.sampled_from(["GET", "POST", "DELETE", "PUT"]), PATHS, QUERIES, st.binary(max_size=60) | st.just(b"")
)


@given(asked=REQUESTS)
def test_what_the_public_client_signs_is_let_in(door: Door, asked: Asked) -> None:
    assert door.opens(asked.signed(_soon()), asked)


@given(asked=REQUESTS, other=REQUESTS, parts=st.sets(st.sampled_from(["method", "path", "query", "body"]), min_size=1))
@example(Asked("GET", "/x", "a=1&b=2", b""), Asked("GET", "/x", "a=1&b=2&a=1", b""), {"query"})
@example(Asked("GET", "/x", "a=1", b""), Asked("GET", "/x", "a=1&c=2", b""), {"query"})
@example(Asked("POST", "/x", "", b"\n\n1"), Asked("POST", "/x", "", b""), {"body"})
def test_a_changed_request_is_not_let_in(door: Door, asked: Asked, other: Asked, parts: set[str]) -> None:
    changed = replace(asked, **{part: getattr(other, part) for part in parts})
    expires = _soon()
    header = asked.signed(expires)
    # What the client itself would sign in the same way is the same request: its parameters in another order, say.
    assume(_digest(changed.signed(expires)) != _digest(header))
    assert not door.opens(header, changed)


@given(asked=REQUESTS, secret=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=50))
def test_another_secret_opens_nothing(door: Door, asked: Asked, secret: str) -> None:
    assume(secret != SECRET)
    assert not door.opens(asked.signed(_soon(), secret), asked)


@given(asked=REQUESTS, away=st.integers(-(2**40), -62) | st.integers(3700, 2**40))
def test_what_has_expired_or_expires_far_ahead_opens_nothing(door: Door, asked: Asked, away: int) -> None:
    assert not door.opens(asked.signed(int(time.time()) + away), asked)


@given(asked=REQUESTS, at=st.floats(0, 1, exclude_max=True), length=st.integers(0, 5), instead=LATIN)
def test_a_damaged_header_opens_nothing(door: Door, asked: Asked, at: float, length: int, instead: str) -> None:
    header = asked.signed(_soon())
    start = int(at * (len(header) + 1))
    damaged = header[:start] + instead + header[start + length :]
    # The scheme may be spelt in either case, and which parameters are signed shows in the signature, not in their list.
    assume(_essence(damaged) != _essence(header))
    assert not door.opens(damaged, asked)


FIELDS = st.sampled_from(["credential", "signed-query-args", "expires", "signature", "Credential", ""]) | LATIN
VALUES = (
    st.sampled_from([KEY, "", "a;b", ";" * 3000, "9" * 12, "9" * 13, "-1", "1e9", "=", "A" * 43 + "=", "A" * 44])
    | st.binary(min_size=32, max_size=32).map(lambda digest: base64.b64encode(digest).decode())
    | LATIN
)
HEADERS = (
    LATIN
    | LATIN.map(_SCHEME.__add__)
    | LATIN.map("Bearer ".__add__)
    | st.lists(st.tuples(FIELDS, VALUES).map("=".join), max_size=6).map(lambda parts: _SCHEME + ",".join(parts))
)


@given(header=HEADERS, asked=REQUESTS)
def test_no_header_of_a_stranger_crashes_the_gate_or_gets_in(door: Door, header: str, asked: Asked) -> None:
    assert not door.opens(header, asked)


def test_the_gate_of_these_tests_opens_to_its_key(door: Door) -> None:
    assert door.opens(f"Bearer {KEY}:{SECRET}", Asked("GET", "/x", "", b""))


def _essence(header: str) -> tuple[str, str]:
    scheme, _, rest = header.partition(" ")
    return scheme.lower(), _NAMES.sub("", rest)


def _digest(header: str) -> str:
    return header.rpartition("signature=")[2]


def _soon() -> int:
    return int(time.time()) + 600
