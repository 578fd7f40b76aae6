"""Signing in and out, and what a page of another site, a reader and a revoked key don't get."""

import contextlib
import html
import re
import shutil
from http.cookies import SimpleCookie
from pathlib import Path

import httpx2
import pytest

from app.db.session import Database
from app.domain.keys import Role, hub_token, split_token
from app.sealing import Sealer
from app.services import keys
from tests.api.test_auth import SECONDS_TO_REVOKE, audited, make_key
from tests.by_hand import run
from tests.console.conftest import Site
from tests.console.test_live import listening
from tests.depot import KEY, SECRET, SECRET_KEY, Depot
from tests.processes import until
from tests.servers import Redis

PAGES = [
    "/console",
    "/console/models/new",
    "/console/deployments",
    "/console/activity",
    "/console/storage",
    "/console/workers",
    "/console/keys",
    "/console/audit",
    "/console/session",
]
OTHERS = [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]


def cookie_of(answer: httpx2.Response) -> SimpleCookie:
    return SimpleCookie(answer.headers["set-cookie"])


def test_a_browser_is_led_to_the_console_and_others_are_told_as_before(site: Site) -> None:
    stranger = site.stranger()
    led = stranger.get("/", headers={"Accept": "text/html,*/*"})
    assert (led.status_code, led.headers["location"]) == (303, "/console")
    told = stranger.get("/")
    assert told.status_code == 404
    assert told.json()["error"]


@pytest.mark.parametrize("path", PAGES)
def test_a_stranger_is_asked_for_a_key_first_and_then_led_back(site: Site, path: str) -> None:
    stranger = site.stranger()
    asked = stranger.get(path)
    assert asked.status_code == 303
    form = stranger.get(asked.headers["location"])
    assert 'placeholder="KEY:SECRET"' in form.text
    wanted = form.url.params.get("next", "")
    answer = stranger.post("/console/sign-in", data={"key": f"{KEY}:{SECRET}", "next": wanted})
    assert (answer.status_code, answer.headers["location"]) == (303, path)


@pytest.mark.parametrize(
    "address", ["/console?q=zzz&sort=name", "/console/activity?state=failure", "/console?q=%C3%A4"]
)
def test_a_deep_link_keeps_its_query_through_the_sign_in(site: Site, address: str) -> None:
    assert _signed_in_again(site, site.stranger().get(address)) == address


def test_a_part_of_a_page_leads_back_to_the_page_that_asked_for_it(site: Site) -> None:
    at = f"http://127.0.0.1:{site.api.depot.port}/console/activity?state=failure"
    asked = site.stranger().get("/console/activity/now", headers={"HX-Request": "true", "HX-Current-URL": at})
    assert asked.status_code == 204
    assert _signed_in_again(site, asked) == "/console/activity?state=failure"


def test_a_form_that_was_sent_without_a_session_is_said_to_be_unsent_and_leads_back_to_its_page(site: Site) -> None:
    at = f"http://127.0.0.1:{site.api.depot.port}/console/deployments?q=x"
    before = site.api.stored()
    asked = site.stranger().post("/console/deployments", data={"name": "chat"}, headers={"Referer": at})
    assert "nothing was sent" in site.stranger().get(asked.headers["location"]).text
    assert _signed_in_again(site, asked) == "/console/deployments?q=x"
    assert site.api.stored() == before


def test_what_was_typed_on_the_add_page_is_there_after_the_sign_in_but_for_the_token(site: Site) -> None:
    fields = {"name": "acme/lost & found", "include": "*.gguf *.json", "token": "hf_planted_token", "csrf": "old"}
    page = f"http://127.0.0.1:{site.api.depot.port}/console/models/new?name=before"
    fragment = {"HX-Request": "true", "HX-Current-URL": page}
    for path, headers in (("new", {"Referer": page}), ("new", {}), ("look", fragment)):
        asked = site.stranger().post(f"/console/models/{path}", data=fields, headers=headers)
        led = _signed_in_again(site, asked)
        assert "hf_planted" not in str(asked.headers) + led
        assert led.startswith("/console/models/new?")
        shown = html.unescape(site.user().page(led))
        assert 'value="acme/lost & found"' in shown
        assert 'value="*.gguf *.json"' in shown
    assert "hf_planted" not in site.api.depot.logs()
    long = site.stranger().post("/console/models/new", data={"name": "acme/x", "include": "y" * 50_000})
    assert len(long.headers["location"]) < 200


def _signed_in_again(site: Site, asked: httpx2.Response) -> str:
    """Where the sign-in leads that an answer asked for."""
    form = site.stranger().get(asked.headers.get("location") or asked.headers["hx-redirect"])
    found = re.search(r'name="next" value="([^"]*)"', form.text)
    assert found
    wanted = html.unescape(found[1])
    answer = site.stranger().post("/console/sign-in", data={"key": f"{KEY}:{SECRET}", "next": wanted})
    assert answer.status_code == 303
    location: str = answer.headers["location"]
    return location


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "/console.evil.example", "\\evil"])
def test_nobody_is_led_to_another_site(site: Site, elsewhere: str) -> None:
    answer = site.stranger().post("/console/sign-in", data={"key": f"{KEY}:{SECRET}", "next": elsewhere})
    assert answer.headers["location"] == "/console"


@pytest.mark.parametrize("form", [{}, {"key": KEY}, {"key": f"{KEY}:wrong"}, {"key": "no key:x"}, {"key": SECRET}])
def test_a_wrong_sign_in_gives_the_form_again_and_no_session(site: Site, form: dict[str, str]) -> None:
    answer = site.stranger().post("/console/sign-in", data=form)
    assert answer.status_code == 403
    assert 'role="alert"' in answer.text
    assert ("KEY:SECRET" in _refusal(answer)) == (split_token(form.get("key", "")) is None)
    assert "set-cookie" not in answer.headers


def _refusal(answer: httpx2.Response) -> str:
    return answer.text.partition('role="alert"')[2].partition("</div>")[0]


def test_a_form_of_an_older_version_with_two_fields_still_signs_in(site: Site) -> None:
    assert site.stranger().post("/console/sign-in", data={"key": KEY, "secret": SECRET}).status_code == 303


def test_a_key_in_the_form_of_the_hubs_tokens_signs_in(site: Site) -> None:
    assert site.stranger().post("/console/sign-in", data={"key": hub_token(KEY, SECRET)}).status_code == 303


@pytest.mark.parametrize("headers", OTHERS)
def test_another_site_signs_nobody_in(site: Site, headers: dict[str, str]) -> None:
    answer = site.stranger().post("/console/sign-in", data={"key": f"{KEY}:{SECRET}"}, headers=headers)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_guesses_are_limited_as_the_apis_are(site: Site) -> None:
    stranger, guess = site.stranger(), {"key": "EXOsomebodyelse:a-guess"}
    limited = next(
        answer
        for answer in (stranger.post("/console/sign-in", data=guess) for _ in range(60))
        if answer.status_code == 429
    )
    assert int(limited.headers["retry-after"]) > 0
    assert stranger.post("/console/sign-in", data={"key": f"{KEY}:{SECRET}"}).status_code == 303


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites_and_holds_no_secret(site: Site) -> None:
    answer = site.stranger().post("/console/sign-in", data={"key": f"{KEY}:{SECRET}"})
    cookie = cookie_of(answer)["depot-session"]
    assert cookie["httponly"]
    assert (cookie["samesite"], cookie["path"], cookie["max-age"]) == ("strict", "/", "43200")
    assert not cookie["secure"]
    assert KEY not in cookie.value
    assert SECRET not in cookie.value


@pytest.mark.parametrize("cookie", ["", "nonsense", "v1.00000000.AAAA", "%00"])
def test_a_cookie_that_is_not_ours_is_none(site: Site, cookie: str) -> None:
    answer = site.stranger().get("/console", headers={"Cookie": f"depot-session={cookie}"})
    assert answer.status_code == 303


def test_whoever_signs_out_is_out(site: Site) -> None:
    user = site.user()
    answer = user.send("/console/sign-out")
    assert answer.status_code == 303
    assert user.client.get("/console").status_code == 303


def test_the_cookie_of_whoever_signed_out_opens_nothing_any_more(site: Site) -> None:
    user, other = site.user(), site.user()
    stolen = site.stranger()
    stolen.cookies = httpx2.Cookies(user.client.cookies)
    assert stolen.get("/console/keys").status_code == 200
    assert user.send("/console/sign-out").status_code == 303
    assert stolen.get("/console/keys").status_code == 303
    assert stolen.get("/console/events?models=", headers={"Accept": "text/event-stream"}).status_code == 401
    assert other.client.get("/console").status_code == 200


def test_signing_out_everywhere_ends_all_sessions_of_the_key_and_no_others(site: Site) -> None:
    key, secret = make_key(site.api, Role.READER, name="of a reader")
    users, other = [site.user(key, secret) for _ in range(3)], site.user()
    page = users[0].page("/console/session")
    assert "of a reader" in page
    assert "3, this one included" in page
    assert users[0].send("/console/sign-out-everywhere").status_code == 303
    assert [user.client.get("/console").status_code for user in users] == [303] * 3
    assert other.client.get("/console").status_code == 200


def test_the_stream_of_whoever_signed_out_ends(site: Site) -> None:
    user = site.user()
    with listening(user, f"models={site.api.ready_model()}") as listener:
        until(lambda: "ready" in listener.heard, lambda: listener.heard)
        assert user.send("/console/sign-out").status_code == 303
        until(listener.ended.is_set, lambda: listener.heard, SECONDS_TO_REVOKE + 1)
        assert listener.heard.endswith("event: signed-out\ndata: -\n\n")


@pytest.mark.parametrize(("path", "name"), [("", "__Host-depot-session"), ("/depot", "__Secure-depot-session")])
def test_the_cookie_is_for_tls_only_where_the_public_address_is_https_whatever_the_proxy_tells(
    migrated_sqlite: Path, redis_server: Redis, tmp_path: Path, path: str, name: str
) -> None:
    shutil.copy(migrated_sqlite, tmp_path / "depot.sqlite3")
    public = f"https://depot.example.org{path}"
    database_url, hub = f"sqlite:///{tmp_path / 'depot.sqlite3'}", "http://127.0.0.1:9"
    depot = Depot(
        tmp_path, database_url=database_url, redis_url=redis_server.url, hub_endpoint=hub, workers=0, public_url=public
    )
    with contextlib.closing(depot), httpx2.Client(base_url=f"http://127.0.0.1:{depot.port}{path}") as client:
        assert f"{public}/console" in client.get("/console/sign-in").text
        proxied = {"Host": "depot.example.org"}
        assert "https://" not in client.get("/console/sign-in", headers=proxied).text
        answer = client.post("/console/sign-in", data={"key": f"{KEY}:{SECRET}"}, headers=proxied)
        cookie = cookie_of(answer)[name]
        assert (cookie["secure"], cookie["httponly"], cookie["path"]) == (True, True, path or "/")
        signed_in = {"Cookie": f"{name}={cookie.value}"}
        assert client.get("/console", headers=signed_in).status_code == 200
        # As of another host under the same name: no cookie of ours.
        assert client.get("/console", headers={"Cookie": f"depot-session={cookie.value}"}).status_code == 303


def test_a_revoked_key_is_signed_out(site: Site) -> None:
    key, secret = make_key(site.api)
    user = site.user(key, secret)
    assert site.user().send(f"/console/keys/{key}/revoke").status_code == 303
    until(lambda: user.client.get("/console").status_code == 303, site.api.depot.logs, SECONDS_TO_REVOKE)
    assert user.client.get("/console/models/commands", headers={"HX-Request": "true"}).headers["hx-redirect"]


def test_whoever_signed_in_with_a_secret_that_is_no_longer_the_keys_is_out(site: Site) -> None:
    key, secret = make_key(site.api)
    user = site.user(key, secret)

    async def change(database: Database) -> None:
        async with database.begin() as connection:
            await keys.keep(connection, Sealer([SECRET_KEY]), key, "another-secret-of-it", name="of a test")

    run(site.api.database_url, change)
    until(lambda: user.client.get("/console").status_code == 303, site.api.depot.logs, SECONDS_TO_REVOKE)


def test_each_page_has_another_token_so_that_packing_tells_nothing_of_it(site: Site) -> None:
    user = site.user()
    assert user.client.get("/console").headers["content-encoding"] == "gzip"
    tokens = {user.csrf() for _ in range(5)}
    assert len(tokens) == 5
    for token in tokens:
        answer = user.client.post("/console/models/new", data={"name": "acme/", "csrf": token})
        assert answer.status_code == 400


def test_a_form_without_its_token_or_with_anothers_is_refused(site: Site) -> None:
    user, other = site.user(), site.user()
    before = site.api.stored()
    for fields in ({}, {"csrf": ""}, {"csrf": other.csrf()}, {"csrf": "é"}):
        answer = user.client.post("/console/models/new", data={"name": "acme/model"} | fields)
        assert answer.status_code == 403
        assert 'role="alert"' in answer.text
    assert site.api.stored() == before


@pytest.mark.parametrize("headers", OTHERS)
def test_a_form_from_another_site_is_refused_though_it_had_the_token(site: Site, headers: dict[str, str]) -> None:
    before = site.api.stored()
    assert site.user().send("/console/models/new", headers, name="acme/model").status_code == 403
    assert site.api.stored() == before


def test_a_form_of_ours_says_where_it_comes_from_and_is_taken(site: Site) -> None:
    origin = {"Origin": f"http://127.0.0.1:{site.api.depot.port}", "Sec-Fetch-Site": "same-origin"}
    assert site.user().send("/console/models/new", origin, name=site.api.name()).status_code == 303
    site.api.carry_out()


def test_a_reader_sees_no_form_that_changes_anything_and_is_refused_when_sending_one(site: Site) -> None:
    model_id = site.api.ready_model()
    reader, before = site.reader(), site.api.stored()
    for path in ("/console", f"/console/models/{model_id}", "/console/deployments", "/console/activity"):
        page = reader.page(path)
        assert page.count('method="post"') == 1, f"{path} has more than the form to sign out"
        assert "/console/models/new" not in page
    for path in ("/console/models/new", "/console/keys", "/console/audit"):
        assert reader.client.get(path).status_code == 403
    changes = {
        "/console/models/new": {"name": "acme/model"},
        f"/console/models/{model_id}/delete": {},
        f"/console/models/{model_id}/retry": {},
        "/console/deployments": {"name": "chat", "model": "acme/model"},
        f"/console/deployments/{model_id}/delete": {},
        "/console/keys": {"name": "mine", "role": "operator"},
        f"/console/keys/{KEY}/revoke": {},
    }
    for path, fields in changes.items():
        assert reader.send(path, **fields).status_code == 403, path
    assert site.api.stored() == before
    assert reader.send("/console/sign-out").status_code == 303


def test_what_is_changed_in_the_console_is_audited_like_what_the_api_changes(site: Site) -> None:
    key, secret = make_key(site.api, Role.OPERATOR)
    user = site.user(key, secret)
    assert user.send("/console/models/new", name=site.api.name()).status_code == 303
    site.api.carry_out()
    assert user.send("/console/models/new", name="acme/").status_code == 400
    assert user.send("/console/keys", name="somebody", role="reader").status_code == 303
    found = [(row.action, row.outcome) for row in audited(site.api, key)]
    assert user.send("/console/sign-out").status_code == 303
    assert found == [
        ("sign-in", "accepted"),
        ("create-model", "accepted"),
        ("create-model", "400 Bad Request"),
        ("create-key", "accepted"),
    ]
    assert [(row.action, row.outcome) for row in audited(site.api, key)][len(found) :] == [("sign-out", "accepted")]


def test_what_a_reader_is_refused_in_the_console_is_audited(site: Site) -> None:
    model_id = site.api.ready_model()
    key, secret = make_key(site.api, Role.READER, name="of a reader")
    reader = site.user(key, secret)
    for path in ("models/new", f"models/{model_id}/delete", f"models/{model_id}/retry", f"keys/{KEY}/revoke"):
        assert reader.send(f"/console/{path}").status_code == 403
    name = site.api.depot.model(model_id)["name"]
    assert [(row.action, row.outcome, row.resource_name) for row in audited(site.api, key)] == [
        ("sign-in", "accepted", None),
        ("create-model", "403 Forbidden", None),
        ("delete-model", "403 Forbidden", name),
        ("create-model", "403 Forbidden", name),
        ("revoke-key", "403 Forbidden", "bootstrap"),
    ]


def test_a_refused_sign_in_is_audited_with_the_key_that_was_tried(site: Site) -> None:
    key, _ = make_key(site.api)
    answer = site.stranger().post("/console/sign-in", data={"key": f"{key}:a-guess"})
    # From the address of these tests too many may have come already.
    expected = [("sign-in", "403 Forbidden")] if answer.status_code == 403 else []
    assert [(row.action, row.outcome) for row in audited(site.api, key)] == expected
