"""Who gets in: credentials, roles, failures and the audit, over HTTP."""

import base64
import hashlib
import hmac
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount

from app.db.session import Database
from app.domain.keys import Role, hub_token, limit_to
from app.main import build
from app.sealing import Sealer
from app.services import audit, keys
from app.settings import Settings
from tests.by_hand import Api, run
from tests.depot import KEY, SECRET, SECRET_KEY
from tests.processes import until

OPEN = {"/zone", "/v2/zone", "/healthz", "/readyz", "/docs", "/docs/oauth2-redirect", "/openapi.json"}
"""What is meant to be open. Whatever else has a path takes a key."""
CONSOLE, OPEN_CONSOLE = "/console", {"/", "/console/sign-in", "/console/static/{name}"}
"""The console's pages lead a stranger to where a key is asked for."""
BASIC = base64.b64encode(f"{KEY}:{SECRET}".encode()).decode()
OPEN_FILES = {"/static-offline-docs"}
SECONDS_TO_REVOKE = 5


def sign(method: str, path: str, body: bytes = b"", **given: Any) -> str:
    """The header of the public clients, written down by hand."""
    key, secret = given.get("key", KEY), given.get("secret", SECRET)
    expires = int(given.get("expires", time.time() + 600))
    names, values = given.get("names", ()), given.get("values", "")
    message = f"{method} {path}\n".encode() + body + f"\n{values}\n\n{expires}".encode()
    digest = base64.b64encode(hmac.digest(secret.encode(), message, hashlib.sha256)).decode()
    signed = f"signed-query-args={';'.join(names)}," if names else ""
    return f"EXO2-HMAC-SHA256 credential={key},{signed}expires={expires},signature={digest}"


def application(tmp_path: Path) -> FastAPI:
    settings: dict[str, Any] = {
        "database_url": f"sqlite:///{tmp_path / 'unused'}",
        "redis_url": "redis://127.0.0.1:1/0",
        "storage": str(tmp_path),
        "secret_key": SECRET_KEY,
    }
    return build(Settings(**settings))


@pytest.fixture(scope="module")
def stranger(api: Api) -> Iterator[httpx2.Client]:
    """A client without credentials of its own."""
    with httpx2.Client(base_url=f"http://127.0.0.1:{api.depot.port}", timeout=30) as client:
        yield client


def make_key(
    api: Api, role: Role = Role.OPERATOR, expires: float | None = None, name: str = "", models: Sequence[str] = ()
) -> tuple[str, str]:
    async def make(database: Database) -> tuple[str, str]:
        async with database.begin() as connection:
            return await keys.create(
                connection, Sealer([SECRET_KEY]), name=name, role=role, expires=expires, limit=limit_to(models)
            )

    made: tuple[str, str] = run(api.database_url, make)
    return made


def audited(api: Api, key_id: str) -> list[Any]:
    async def look(database: Database) -> list[Any]:
        async with database.read() as connection:
            return list(await audit.latest(connection, 100, key_id))

    found: list[Any] = run(api.database_url, look)
    return found


def bearer(key: str, secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}:{secret}"}


def test_every_route_but_the_open_ones_takes_a_key(stranger: httpx2.Client, tmp_path: Path) -> None:
    walked = 0
    for route in iter_route_contexts(application(tmp_path).routes):
        path = str(route.path)
        if path in OPEN | OPEN_CONSOLE or (isinstance(route.route, Mount) and path in OPEN_FILES):
            continue
        assert not isinstance(route.route, Mount), f"{path} is open by accident"
        for method in route.methods or ():
            answer = stranger.request(method, path.replace("{id}", str(uuid4())), content=b"no JSON at all")
            walked += 1
            if path.startswith(CONSOLE):
                assert answer.status_code == 303, f"{method} {path} is open by accident"
                assert answer.headers["location"].startswith("/console/sign-in")
                continue
            assert answer.status_code == 401, f"{method} {path} is open by accident"
            assert "www-authenticate" in answer.headers
    assert walked >= 20


@pytest.mark.parametrize("path", ["/zone", "/v2/zone", "/healthz", "/docs", "/openapi.json"])
def test_what_is_open_needs_no_key(stranger: httpx2.Client, path: str) -> None:
    assert stranger.get(path).status_code == 200


def test_the_document_says_how_to_send_a_key(stranger: httpx2.Client) -> None:
    document = stranger.get("/openapi.json").json()
    schemes = set(document["components"]["securitySchemes"])
    assert "security" not in document["paths"]["/zone"]["get"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if path != "/zone":
                assert {name for either in operation["security"] for name in either} == schemes, (method, path)
                assert {"401", "403", "429"} <= set(operation["responses"])


def test_a_key_and_its_secret_open_the_api(api: Api, stranger: httpx2.Client) -> None:
    key, secret = make_key(api)
    assert stranger.get("/v2/ai/model", headers=bearer(key, secret)).status_code == 200
    token = {"Authorization": f"Bearer {hub_token(key, secret)}"}
    assert stranger.get("/v2/ai/model", headers=token).status_code == 200
    signed = sign("GET", "/v2/ai/model", key=key, secret=secret)
    assert stranger.get("/v2/ai/model", headers={"Authorization": signed}).status_code == 200


def test_a_signature_covers_the_body_and_the_query(api: Api, stranger: httpx2.Client) -> None:
    body = b'{"name": "%s"}' % api.name().encode()
    header = sign("POST", "/ai/model", body, names=("a", "b"), values="1x y")
    headers = {"Authorization": header, "Content-Type": "application/json"}
    answer = stranger.post("/ai/model?b=x%20y&a=1&empty=", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    api.carry_out()


@pytest.mark.parametrize("away", [-30, 0, 3500])
def test_a_signature_opens_from_a_minute_after_its_expiry_to_an_hour_before(stranger: httpx2.Client, away: int) -> None:
    header = sign("GET", "/v2/ai/model", expires=int(time.time()) + away)
    assert stranger.get("/v2/ai/model", headers={"Authorization": header}).status_code == 200


@pytest.mark.parametrize("path", ["/v2/ai/model", f"/v2/ai/model/{UUID(int=1)}"])
def test_a_signature_covers_a_body_whose_length_is_not_told(api: Api, stranger: httpx2.Client, path: str) -> None:
    body, method = b'{"name": "%s"}' % api.name().encode(), "GET" if path.endswith("1") else "POST"

    def chunked(signed: bytes) -> int:
        headers = {"Authorization": sign(method, path, signed), "Content-Type": "application/json"}
        return stranger.request(method, path, content=iter([body]), headers=headers).status_code

    assert chunked(b"") == 403
    assert chunked(body) == (404 if method == "GET" else 200)
    if method == "POST":
        api.carry_out()


ATTACKS: dict[str, tuple[str, str, str, bytes, int]] = {
    # name: the header, the method, the path and the body that are sent with it, and the answer
    "unsigned": ("", "GET", "/v2/ai/model", b"", 401),
    "unknown scheme": (f"Basic {KEY}:{SECRET}", "GET", "/v2/ai/model", b"", 401),
    "Basic, which is for the Hub's clients": (f"Basic {BASIC}", "GET", "/v2/ai/model", b"", 401),
    "a token of the Hub": (f"Bearer hf_{'aB3' * 12}", "GET", "/v2/ai/model", b"", 403),
    "token cut": (f"Bearer {hub_token(KEY, SECRET)[:-2]}", "GET", "/v2/ai/model", b"", 403),
    "token of another secret": (f"Bearer {hub_token(KEY, 'x' * 23)}", "GET", "/v2/ai/model", b"", 403),
    "token in capitals": (f"Bearer {hub_token(KEY, SECRET).upper()}", "GET", "/v2/ai/model", b"", 403),
    "expired": (sign("GET", "/v2/ai/model", expires=time.time() - 70), "GET", "/v2/ai/model", b"", 403),
    "expires far ahead": (sign("GET", "/v2/ai/model", expires=time.time() + 9000), "GET", "/v2/ai/model", b"", 403),
    "other method": (sign("GET", f"/v2/ai/model/{uuid4()}"), "DELETE", f"/v2/ai/model/{uuid4()}", b"", 403),
    "other path": (sign("GET", "/v2/ai/deployment"), "GET", "/v2/ai/model", b"", 403),
    "path without its prefix": (sign("GET", "/ai/model"), "GET", "/v2/ai/model", b"", 403),
    "changed body": (sign("POST", "/v2/ai/model", b'{"name":"a/b"}'), "POST", "/v2/ai/model", b'{"name":"a/c"}', 403),
    "body where none was signed": (sign("POST", "/v2/ai/model"), "POST", "/v2/ai/model", b'{"name":"a/c"}', 403),
    "unsigned query": (sign("GET", "/v2/ai/model"), "GET", "/v2/ai/model?visibility=all", b"", 403),
    "changed query": (sign("GET", "/v2/ai/model", names=("a",), values="1"), "GET", "/v2/ai/model?a=2", b"", 403),
    "query named, not signed": (sign("GET", "/v2/ai/model", names=("a",)), "GET", "/v2/ai/model?a=1", b"", 403),
    "doubled query": (sign("GET", "/v2/ai/model", names=("a",), values="1"), "GET", "/v2/ai/model?a=1&a=2", b"", 403),
    "doubled query, unsigned": (sign("GET", "/v2/ai/model"), "GET", "/v2/ai/model?limit=1&limit=2", b"", 403),
    "other key's secret": (sign("GET", "/v2/ai/model", secret="x" * 23), "GET", "/v2/ai/model", b"", 403),
    "unknown key": (sign("GET", "/v2/ai/model", key="EXOnobody"), "GET", "/v2/ai/model", b"", 403),
    "empty secret": (f"Bearer {KEY}:", "GET", "/v2/ai/model", b"", 403),
    "no secret": (f"Bearer {KEY}", "GET", "/v2/ai/model", b"", 403),
    "part of the secret": (f"Bearer {KEY}:{SECRET[:-1]}", "GET", "/v2/ai/model", b"", 403),
    "more than the secret": (f"Bearer {KEY}:{SECRET}x", "GET", "/v2/ai/model", b"", 403),
    "double slash": (sign("GET", "/v2/ai/model"), "GET", "//v2/ai/model", b"", 404),
    "double slash within": (sign("GET", "/v2/ai/model"), "GET", "/v2//ai/model", b"", 404),
    "escaped dot": (sign("GET", "/v2/ai/model"), "GET", "/v2/ai/deployment/%2e%2e/model", b"", 404),
    "escaped letter": (sign("GET", "/v2/ai/model"), "GET", "/v2/ai/%6dodel", b"", 403),
    "semicolon": (sign("GET", "/v2/ai/model/x"), "GET", "/v2/ai/model/x;y", b"", 403),
    "escaped slash": (sign("GET", "/v2/ai/model"), "GET", "/v2/ai%2fmodel", b"", 403),
    "trailing slash": (sign("GET", "/v2/ai/model"), "GET", "/v2/ai/model/", b"", 404),
    "signature cut": (sign("GET", "/v2/ai/model")[:-3], "GET", "/v2/ai/model", b"", 403),
    "signature twice": (sign("GET", "/v2/ai/model") * 2, "GET", "/v2/ai/model", b"", 403),
    "NUL in the key": ("EXO2-HMAC-SHA256 credential=EXO\\0,expires=1,signature=", "GET", "/v2/ai/model", b"", 403),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused(api: Api, stranger: httpx2.Client, name: str) -> None:
    header, method, path, body, expected = ATTACKS[name]
    headers = {"Authorization": header, "Content-Type": "application/json"} if header else {}
    before = api.stored()
    # The client would tidy the path up.
    address = httpx2.URL(f"http://127.0.0.1:{api.depot.port}", raw_path=path.encode())
    answer = stranger.request(method, address, content=body, headers=headers)
    # Beyond a rate, refusals aren't told apart.
    assert answer.status_code in ({expected, 429} if expected == 403 else {expected}), answer.text
    if expected != 404:
        assert answer.json()["error"]
    assert api.stored() == before
    assert SECRET not in answer.text + api.depot.logs()


def test_a_reader_looks_and_changes_nothing(api: Api, stranger: httpx2.Client) -> None:
    key, secret = make_key(api, Role.READER)
    model_id = api.ready_model()
    headers = bearer(key, secret)
    assert stranger.get(f"/v2/ai/model/{model_id}", headers=headers).status_code == 200
    assert stranger.delete(f"/v2/ai/model/{model_id}", headers=headers).status_code == 403
    assert stranger.post("/v2/ai/model", json={"name": api.name()}, headers=headers).status_code == 403
    assert api.depot.model(model_id)["status"] == "ready"
    name = api.depot.model(model_id)["name"]
    assert [(row.action, row.outcome, row.resource_name) for row in audited(api, key)] == [
        ("delete-model", "403 Forbidden", name),
        ("create-model", "403 Forbidden", None),
    ]


def test_a_revoked_key_is_shut_out_within_five_seconds(api: Api, stranger: httpx2.Client) -> None:
    key, secret = make_key(api)

    async def revoke(database: Database) -> None:
        async with database.begin() as connection:
            await keys.revoke(connection, key)

    def status() -> int:
        return stranger.get("/v2/ai/model", headers=bearer(key, secret)).status_code

    assert status() == 200
    run(api.database_url, revoke)
    until(lambda: status() != 200, api.depot.logs, SECONDS_TO_REVOKE)


def test_an_expired_key_opens_nothing(api: Api, stranger: httpx2.Client) -> None:
    headers = bearer(*make_key(api, expires=-1.0))
    assert stranger.get("/v2/ai/model", headers=headers).status_code in {403, 429}


def test_failures_are_limited_and_the_owner_still_gets_in(api: Api, stranger: httpx2.Client) -> None:
    key, secret = make_key(api)
    answers = [stranger.get("/ai/model", headers=bearer(key, "a wrong guess")) for _ in range(40)]
    assert {answer.status_code for answer in answers} <= {403, 429}
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert stranger.get("/ai/model", headers=bearer(key, secret)).status_code == 200


def test_a_failure_is_logged_with_the_key_but_without_what_may_be_a_secret(api: Api, stranger: httpx2.Client) -> None:
    swapped = bearer("a-secret-in-the-wrong-place", KEY)
    assert stranger.get("/ai/model", headers=swapped).status_code in {403, 429}
    assert "a-secret-in-the-wrong-place" not in api.depot.logs()


def test_each_change_is_audited_with_who_what_which_and_its_outcome(api: Api, stranger: httpx2.Client) -> None:
    key, secret = make_key(api, name="the tests' key")
    headers, body = bearer(key, secret), {"name": api.name()}
    created = stranger.post("/v2/ai/model", json=body, headers=headers).json()
    assert stranger.post("/ai/model", json=body, headers=headers).status_code == 409
    assert stranger.post("/ai/model", json={"nam": "x"}, headers=headers).status_code == 400
    model_id = created["reference"]["id"]
    missing = uuid4()
    assert stranger.delete(f"/ai/model/{missing}", headers=headers).status_code == 404
    assert stranger.delete(f"/ai/model/{model_id}", headers=headers).status_code == 200
    assert stranger.get("/ai/model", headers=headers).status_code == 200
    assert [(row.action, row.outcome, str(row.resource_id), row.resource_name) for row in audited(api, key)] == [
        ("create-model", "accepted", model_id, body["name"]),
        ("create-model", "409 Conflict", "None", body["name"]),
        ("create-model", "400 Bad Request", "None", None),
        ("delete-model", "404 Not Found", str(missing), None),
        ("delete-model", "accepted", model_id, body["name"]),
    ]
    assert {row.key_name for row in audited(api, key)} == {"the tests' key"}
    assert {row.address for row in audited(api, key)} == {"127.0.0.1"}
    assert api.depot.logs().count(f'"key": "{key}", "action"') == 5


def test_the_audit_of_a_deployment_keeps_its_name(api: Api, stranger: httpx2.Client) -> None:
    key, secret = make_key(api)
    headers, model_id = bearer(key, secret), api.ready_model()
    body = {"name": "chat", "model": {"id": model_id}}
    made = stranger.post("/v2/ai/deployment", json=body, headers=headers).json()["reference"]["id"]
    assert stranger.delete(f"/v2/ai/model/{model_id}", headers=headers).status_code == 412
    assert stranger.delete(f"/v2/ai/deployment/{made}", headers=headers).status_code == 200
    assert [(row.action, row.outcome, row.resource_name) for row in audited(api, key)] == [
        ("create-deployment", "accepted", "chat"),
        ("delete-model", "412 Precondition Failed", api.depot.model(model_id)["name"]),
        ("delete-deployment", "accepted", "chat"),
    ]


def test_the_last_use_of_a_key_is_noted(api: Api, stranger: httpx2.Client) -> None:
    key, secret = make_key(api)
    assert stranger.get("/ai/model", headers=bearer(key, secret)).status_code == 200

    async def look(database: Database) -> Any:
        async with database.read() as connection:
            return next(row.last_used_at for row in await keys.list_all(connection) if row.id == key)

    until(lambda: run(api.database_url, look) is not None, api.depot.logs)
