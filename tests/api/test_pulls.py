"""Callers of the Hub's routes: who they are, what they may, and which deployments their pulls renew and declare."""

import asyncio
import base64
from typing import Any
from uuid import UUID

import pytest
from fastapi import Request
from sqlalchemy import event, select
from starlette.exceptions import HTTPException
from structlog.testing import capture_logs

from app.db.access_tables import AuditRow
from app.db.session import Database
from app.db.tables import DeploymentRow
from app.depot.pulls import Pulls
from app.domain.keys import Role, hub_token, limit_to
from app.http.authenticator import Authenticator
from app.http.keyring import Key, Keyring
from app.http.pulls import HEADER, pull_of
from app.sealing import Sealer
from app.services import keys
from tests import by_hand
from tests.api.test_auth import sign
from tests.depot import SECRET_KEY

_HUB_TOKEN = "hf_" + "aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeFgH"
_FAILURES = 25
"""More than are answered one by one."""


def request(header: str | None = None, **others: str) -> Request:
    """A request of a Hub's client."""
    given = {"authorization": header} if header is not None else {}
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in (given | others).items()]
    path = b"/acme/chat/resolve/main/config.json"
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": path.decode(),
        "raw_path": path,
        "query_string": b"",
        "headers": headers,
        "client": ("192.0.2.7", 4711),
        "state": {"request_id": "of-the-test"},
    }
    return Request(scope)


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


async def made(database: Database, **given: Any) -> tuple[str, str]:
    async with database.begin() as connection:
        wanted = {"name": "vllm", "role": Role.READER, "expires": None} | given
        return await keys.create(connection, Sealer([SECRET_KEY]), **wanted)


def gate(database: Database, *, anonymous: bool = False) -> Authenticator:
    return Authenticator(Keyring(database, Sealer([SECRET_KEY])), "", anonymous_pull=anonymous)


async def refused(authenticator: Authenticator, header: str | None) -> HTTPException:
    with pytest.raises(HTTPException) as error:
        await authenticator.admit_pull(request(header))
    return error.value


@pytest.mark.parametrize("anonymous", [False, True])
async def test_a_key_opens_in_every_spelling(database: Database, anonymous: bool) -> None:
    key, secret = await made(database, limit=limit_to(["acme/*"]))
    authenticator = gate(database, anonymous=anonymous)
    for header in (
        f"Bearer {key}:{secret}",
        f"bearer  {hub_token(key, secret)}",
        basic(f"{key}:{secret}"),
        sign("GET", "/acme/chat/resolve/main/config.json", key=key, secret=secret),
    ):
        found = await authenticator.admit_pull(request(header))
        assert found is not None, header
        assert (found.id, found.may_read("acme/chat"), found.may_read("other/chat")) == (key, True, False)


async def test_a_wrong_secret_is_401_however_often_and_whoever_may_pull(database: Database) -> None:
    key, secret = await made(database)
    for authenticator in (gate(database), gate(database, anonymous=True)):
        said = set()
        for number in range(_FAILURES):
            for header in (
                f"Bearer {key}:{number}{secret}",
                f"Bearer {hub_token(key, f'{number}{secret}')}",
                basic(f"EXOnobody:{number}"),
            ):
                refusal = await refused(authenticator, header)
                assert refusal.status_code == 401
                assert "Basic" in (refusal.headers or {})["WWW-Authenticate"]
                said.add(refusal.detail)
        assert len(said) == 2  # wrong; and then, too many of them
        # The right one opens all the same.
        assert await authenticator.admit_pull(request(f"Bearer {key}:{secret}"))


FOREIGN = {
    "a token of the Hub": f"Bearer {_HUB_TOKEN}",
    "a token of an organisation": "Bearer api_org_abcdefghijklmnop",
    "Basic with a token": basic(f"user name:{_HUB_TOKEN}"),
    "Basic without a colon": basic(_HUB_TOKEN),
    "no base64": "Basic %%%",
    "a scheme of another kind": "Digest username=x",
    "what Ollama signs": "AAAAC3NzaC1lZDI1NTE5AAAAIG:c2lnbmF0dXJl",
    "only a scheme": "Bearer",
    "a key without its secret": "Bearer EXOkey",
    "no signature": "EXO2-HMAC-SHA256 credential=EXOkey",
}


@pytest.mark.parametrize("header", [None, "", *FOREIGN.values()], ids=["none", "empty", *FOREIGN])
async def test_what_is_no_key_is_nobody_and_neither_logged_nor_counted(database: Database, header: str | None) -> None:
    strict = gate(database)
    with capture_logs() as logs:
        for _ in range(_FAILURES):
            refusal = await refused(strict, header)
            assert (refusal.status_code, "HF_TOKEN" in refusal.detail) == (401, True)
            if header:
                assert header.split()[-1] not in refusal.detail
        assert await gate(database, anonymous=True).admit_pull(request(header)) is None
    assert logs == []
    # The first failure that counts is answered as one.
    assert "not accepted" in (await refused(strict, "Bearer EXOnobody:a-wrong-secret")).detail


async def test_anonymous_pull_opens_nothing_else(database: Database) -> None:
    authenticator = gate(database, anonymous=True)
    for header in (None, f"Bearer {_HUB_TOKEN}"):
        with pytest.raises(HTTPException) as error:
            await authenticator.admit(request(header))
        assert error.value.status_code in {401, 403}


def key_named(name: str = "vllm", *, auto: bool = False) -> Key:
    return Key("EXOkeyofthetest", name, Role.READER, b"", auto_deployment=auto)


@pytest.mark.parametrize(
    ("header", "key", "declared"),
    [
        (None, key_named(), None),
        ("chat", key_named(), "chat"),
        (None, key_named(auto=True), "vllm"),
        ("chat", key_named(auto=True), "chat"),
        (None, key_named("", auto=True), None),
        ("a\tb", key_named(), None),
        ("x" * 201, key_named(), None),
    ],
)
def test_the_header_or_the_keys_name_declares(header: str | None, key: Key, declared: str | None) -> None:
    pull = pull_of(request(**({HEADER: header} if header else {})), key, UUID(int=1))
    assert (pull.deployment, pull.key_id, pull.address) == (declared, key.id, "192.0.2.7")


async def test_many_requests_of_a_pull_are_one_write_and_one_line_of_the_audit(database: Database) -> None:
    model_id = await by_hand.ready_model(database, "acme/chat")
    pull = pull_of(request(**{HEADER: "chat"}), key_named(), model_id)
    begun: list[Any] = []
    pulls = Pulls(database)
    event.listen(database.writer.sync_engine, "begin", begun.append)
    await asyncio.gather(*(pulls.begin(pull) for _ in range(50)))
    await pulls.begin(pull)
    assert len(begun) == 1
    async with database.read() as connection:
        rows = (
            await connection.execute(select(DeploymentRow.name, DeploymentRow.model_id, DeploymentRow.key_id))
        ).all()
        audited = (await connection.execute(select(AuditRow.action, AuditRow.key_id, AuditRow.resource_name))).all()
    assert [tuple(row) for row in rows] == [("chat", model_id, "EXOkeyofthetest")]
    assert [tuple(row) for row in audited] == [("create-deployment", "EXOkeyofthetest", "chat")]


async def test_a_pull_of_no_name_renews_what_is_bound_to_its_key(database: Database) -> None:
    model_id = await by_hand.ready_model(database, "acme/chat")
    named, plain = (pull_of(request(**given), key_named(), model_id) for given in ({HEADER: "chat"}, {}))
    await Pulls(database).begin(named)
    async with database.begin() as connection:
        await connection.execute(DeploymentRow.__table__.update().values(last_seen_at=None))  # type: ignore[attr-defined]
    await Pulls(database).begin(plain)
    async with database.read() as connection:
        assert (await connection.execute(select(DeploymentRow.last_seen_at))).scalar_one() is not None
