"""Who gets into the console, and what a browser is told to refuse."""

import re
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import httpx2
import pytest
from fastapi import Request, Response
from fastapi.routing import iter_route_contexts

from app.api.keyring import Key
from app.console.session import begin
from app.db.session import Database
from app.domain.keys import Role
from app.sealing import Sealer
from app.services import keys
from tests.app.api.test_auth import application
from tests.app.by_hand import run
from tests.app.conftest import Api
from tests.app.console.conftest import Visitor, alert, new_key
from tests.depot import KEY, SECRET, SECRET_KEY
from tests.processes import until

OPEN = {"/console/sign-in", "/console/static/{name}"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECONDS_TO_REVOKE = 5


def paths(tmp_path: Path) -> list[tuple[str, str]]:
    """Method and path of each route of the console that takes a session."""
    found = [
        (method, re.sub(r"\{[^}]*\}", str(uuid4()), str(route.path)))
        for route in iter_route_contexts(application(tmp_path).routes)
        if str(route.path).startswith("/console") and route.path not in OPEN
        for method in sorted(route.methods or ())
    ]
    assert len(found) >= 4
    return found


def test_a_browser_is_led_from_the_root_to_the_console_and_others_are_not(stranger: Visitor) -> None:
    answer = stranger.get("/")
    assert (answer.status_code, answer.headers["location"]) == (303, "/console")
    assert httpx2.get(f"{stranger.origin}/").status_code == 404


def test_no_page_but_the_first_is_seen_without_a_session(stranger: Visitor, tmp_path: Path) -> None:
    for method, path in paths(tmp_path):
        answer = stranger.client.request(method, path)
        assert answer.status_code == 303, (method, path)
        assert answer.headers["location"].startswith("/console/sign-in"), (method, path)


def test_whoever_signs_in_gets_where_they_wanted_to_go_but_only_within_the_console(stranger: Visitor) -> None:
    wanted = stranger.get(f"/console/models/{uuid4()}").headers["location"]
    assert wanted.startswith("/console/sign-in?next=/console/models/")
    page = stranger.get(wanted)
    assert page.status_code == 200
    there = wanted.partition("next=")[2]
    assert f'value="{there}"' in page.text
    assert stranger.sign_in(KEY, SECRET, next=there).headers["location"] == there
    for elsewhere in ("https://elsewhere.example", "//elsewhere.example", "/console//elsewhere.example", "/docs"):
        location = stranger.sign_in(KEY, SECRET, next=elsewhere).headers["location"]
        assert location.startswith("/console"), elsewhere
        assert httpx2.URL(stranger.origin).join(location).host == "127.0.0.1"


def test_the_session_is_a_cookie_that_no_script_reads_and_no_other_site_sends(stranger: Visitor) -> None:
    (cookie,) = stranger.sign_in(KEY, SECRET).headers.get_list("set-cookie")
    name_and_value, *attributes = (part.strip().lower() for part in cookie.split(";"))
    assert name_and_value.startswith("depot-session=")
    assert {"httponly", "samesite=strict", "path=/", "max-age=43200"} == set(attributes)
    assert KEY.lower() not in name_and_value
    assert SECRET not in cookie


@pytest.mark.parametrize(("scheme", "secure"), [("https", True), ("http", False)])
def test_what_was_given_over_tls_is_never_sent_without(tmp_path: Path, scheme: str, secure: bool) -> None:
    app = application(tmp_path)
    app.state.depot = SimpleNamespace(sealer=Sealer([SECRET_KEY]))
    scope = {
        "type": "http",
        "scheme": scheme,
        "server": ("depot.example", 443),
        "path": "/",
        "root_path": "",
        "headers": [],
    }
    answer = Response()
    begin(Request({**scope, "app": app}), answer, Key("EXOsomebody", Role.READER, b""))
    assert ("secure" in answer.headers["set-cookie"].lower()) is secure


@pytest.mark.parametrize(
    ("key", "secret"),
    [(KEY, "not-the-secret-of-it"), ("EXOnobody", SECRET), ("", ""), ("'; --", SECRET), (KEY, SECRET + "ü"), (KEY, "")],
)
def test_wrong_credentials_are_refused_alike_and_not_repeated(stranger: Visitor, key: str, secret: str) -> None:
    answer = stranger.sign_in(key, secret)
    assert answer.status_code == 403
    assert "not accepted" in alert(answer)
    assert "set-cookie" not in answer.headers
    assert not secret or secret not in answer.text


def test_a_form_of_another_site_signs_nobody_in(stranger: Visitor) -> None:
    form = {"key": KEY, "secret": SECRET}
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "", "Origin": "https://elsewhere.example"}):
        answer = stranger.client.post("/console/sign-in", data=form, headers=headers)
        assert answer.status_code == 403, headers
        assert "set-cookie" not in answer.headers


def test_signed_out_is_out(stranger: Visitor) -> None:
    stranger.sign_in(KEY, SECRET)
    assert stranger.get("/console").status_code == 200
    answer = stranger.send("/console/sign-out")
    assert answer.headers["location"] == "/console/sign-in"
    assert stranger.get("/console").status_code == 303


def test_a_revoked_key_is_signed_out(api: Api, stranger: Visitor) -> None:
    key, secret = new_key(api, Role.OPERATOR)
    stranger.sign_in(key, secret)
    assert stranger.get("/console").status_code == 200

    async def revoke(database: Database) -> None:
        async with database.begin() as connection:
            await keys.revoke(connection, key)

    run(api.database_url, revoke)
    until(lambda: stranger.get("/console").status_code == 303, api.depot.logs, SECONDS_TO_REVOKE)


@pytest.mark.parametrize("cookie", ["", "nonsense", "v1.00000000.AAAA", "%00%ff", '"'])
def test_a_cookie_that_is_not_ours_is_no_session(stranger: Visitor, cookie: str) -> None:
    assert stranger.client.get("/console", headers={"Cookie": f"depot-session={cookie}"}).status_code == 303


def test_every_page_has_the_policy_and_is_not_kept(operator: Visitor, stranger: Visitor, tmp_path: Path) -> None:
    seen = [stranger.get("/console/sign-in"), stranger.sign_in(KEY, "wrong-wrong-wrong-w")]
    seen += [operator.get(path) for method, path in paths(tmp_path) if method == "GET" and "/events" not in path]
    for page in seen:
        assert page.headers["content-security-policy"] == POLICY, page.url
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert not re.search(r"<script(?![^>]* src=)|<style| style=| on[a-z]+=", page.text), page.url


def test_what_is_not_there_is_told_on_a_page(operator: Visitor) -> None:
    for path in ("/console/nonsense", f"/console/models/{uuid4()}", "/console/models/x"):
        answer = operator.get(path)
        assert answer.status_code == 404
        assert alert(answer)


def test_files_are_packed_and_kept_for_good_under_the_name_of_their_content(operator: Visitor) -> None:
    page = operator.get("/console")
    addresses = re.findall(r'(?:href|src)="(/console/static/[^"]+)"', page.text)
    assert len(set(addresses)) >= 4
    for address in addresses:
        answer = operator.get(address)
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["content-encoding"] == "gzip"
        plain = operator.client.get(address, headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert plain.content == answer.content
        assert operator.get(address.partition("?")[0]).headers["cache-control"] == "no-cache"
    assert operator.get("/console/static/nonsense.js").status_code == 404


def test_guesses_are_limited_as_the_apis_are_and_the_right_key_still_gets_in(api: Api, stranger: Visitor) -> None:
    key, secret = new_key(api, Role.READER)
    answers = [stranger.sign_in(key, "wrong-wrong-wrong-w") for _ in range(40)]
    assert {answer.status_code for answer in answers} == {403, 429}
    assert int(answers[-1].headers["retry-after"]) > 0
    assert "Too many" in alert(answers[-1])
    api_answer = httpx2.get(f"{stranger.origin}/v2/ai/model", headers={"Authorization": f"Bearer {key}:also-wrong-key"})
    assert api_answer.status_code == 429
    assert stranger.sign_in(key, secret).status_code == 303
