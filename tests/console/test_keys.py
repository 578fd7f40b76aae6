"""The keys' page: for operators only, a secret that is shown once, and nobody who locks themselves out."""

import html
import re
from typing import Any

import pytest

from app.domain.keys import Role, split_token
from tests import many
from tests.api.test_auth import SECONDS_TO_REVOKE, audited, make_key
from tests.by_hand import run
from tests.console.conftest import Site, User
from tests.depot import KEY
from tests.processes import until


@pytest.fixture(scope="module")
def operator(site: Site) -> User:
    return site.user()


def made(operator: User, **fields: str) -> tuple[str, str]:
    """The key and the secret, as the page shows them."""
    answer = operator.send("/console/keys", **({"name": "of-a-test", "role": "reader", "expires": "30"} | fields))
    assert answer.status_code == 303, answer.text
    page = operator.client.get(answer.headers["location"])
    assert page.headers["cache-control"] == "no-store"
    _, key, secret, token = re.findall(r'data-copy="([^" ]+)"', page.text)
    assert split_token(token) == (key, secret)
    return key, secret


def row_of(page: str, key: str) -> str:
    found = re.search(rf'<tr data-key="{key}".*?</tr>', page, re.DOTALL)
    assert found, page
    return html.unescape(found[0])


def changes(site: Site) -> list[tuple[Any, ...]]:
    return [(row.action, row.other_key_id, row.outcome) for row in audited(site.api, KEY)]


def test_a_secret_is_shown_once_and_written_nowhere(site: Site, operator: User) -> None:
    key, secret = made(operator, name="the tests' key")
    row = row_of(operator.page("/console/keys"), key)
    assert "the tests' key" in row
    assert "in 30 d" in row
    assert secret not in operator.page("/console/keys")
    assert secret not in operator.page(f"/console/keys/{key}/revoke")
    assert secret not in site.api.depot.logs()
    assert changes(site)[-1] == ("create-key", key, "accepted")
    assert 'data-action="create"' not in site.user(key, secret).page("/console/deployments")


def test_what_a_page_shows_once_is_sealed_and_for_that_session(site: Site, operator: User) -> None:
    answer = operator.send("/console/keys", name="for one session", role="reader", expires="30")
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Max-Age=60"} <= set(cookie.split("; "))
    name, _, value = cookie.partition(";")[0].partition("=")
    other = site.user()
    other.client.cookies.set(name, value)
    assert "data-copy" not in other.page("/console/keys")
    _, key, secret, token = re.findall(r'data-copy="([^" ]+)"', operator.page("/console/keys"))
    assert secret not in cookie
    assert token not in cookie
    assert key not in cookie


def test_a_key_may_be_for_good_and_one_that_expired_is_marked(site: Site, operator: User) -> None:
    lasting, _ = made(operator, expires="")
    expired, _ = make_key(site.api, expires=-60.0)
    page = operator.page("/console/keys")
    assert "expired" not in row_of(page, lasting)
    assert "expired" in row_of(page, expired)


def test_revoking_asks_first_and_shuts_the_key_out(site: Site, operator: User) -> None:
    key, secret = make_key(site.api)
    other = site.user(key, secret)
    question = operator.page(f"/console/keys/{key}/revoke")
    assert f'action="/console/keys/{key}/revoke"' in question
    assert other.client.get("/console").status_code == 200

    assert operator.send(f"/console/keys/{key}/revoke").headers["location"] == "/console/keys"
    until(lambda: other.client.get("/console").status_code == 303, site.api.depot.logs, SECONDS_TO_REVOKE)
    assert 'data-action="revoke"' not in row_of(operator.page("/console/keys"), key)
    assert 'data-action="revoke"' not in operator.page(f"/console/keys/{key}/revoke")
    assert operator.send(f"/console/keys/{key}/revoke").status_code == 404
    assert changes(site)[-2:] == [("revoke-key", key, "accepted"), ("revoke-key", key, "404 Not Found")]


def test_nobody_revokes_the_key_that_they_are_signed_in_with(site: Site, operator: User) -> None:
    row = row_of(operator.page("/console/keys"), KEY)
    assert "You are signed in with it" in row
    assert "/revoke" not in row
    assert 'data-action="revoke"' not in operator.page(f"/console/keys/{KEY}/revoke")
    refused = operator.send(f"/console/keys/{KEY}/revoke")
    assert refused.status_code == 409
    assert f"modeldepot key revoke {KEY}" in refused.text
    assert changes(site)[-1] == ("revoke-key", KEY, "409 Conflict")
    assert operator.client.get("/console/keys").status_code == 200


def test_keys_are_filtered_by_status_with_counts_and_sorted(site: Site, operator: User) -> None:
    expired, _ = make_key(site.api, expires=-60.0, name="zz expired")
    revoked, _ = make_key(site.api, name="aa revoked")
    assert operator.send(f"/console/keys/{revoked}/revoke").status_code == 303
    pages = {status: operator.page(f"/console/keys?status={status}") for status in ("usable", "expired", "revoked")}
    assert expired in keys_on(pages["expired"])
    assert revoked in keys_on(pages["revoked"])
    assert KEY in keys_on(pages["usable"])
    assert not {expired, revoked} & set(keys_on(pages["usable"]))
    for status, page in pages.items():
        assert f'{status} <span class="count">{len(keys_on(page))}</span>' in page
        assert all(f">{status}</span>" in row_of(page, key) for key in keys_on(page))
    by_name = keys_on(operator.page("/console/keys?sort=name"))
    assert by_name.index(revoked) < by_name.index(expired)
    assert keys_on(operator.page("/console/keys?sort=-name"))[::-1] == by_name


def test_keys_are_filtered_by_role_too_and_sorted_by_each_column(site: Site, operator: User) -> None:
    expired, _ = make_key(site.api, expires=-60.0, name="may look", role=Role.READER)
    usable, _ = make_key(site.api, name="may look", role=Role.READER, models=["acme/*"])
    page = operator.page("/console/keys?q=may+look&role=reader&status=expired")
    assert keys_on(page) == [expired]
    for chip in ("expired", "usable", "reader"):
        assert f'{chip} <span class="count">1</span>' in page
    assert 'href="/console/keys?q=may+look&amp;status=expired"' in page  # of all roles
    assert 'name="role" value="reader"' in page  # a search keeps the filter
    assert KEY not in keys_on(operator.page("/console/keys?role=reader"))
    for sort, order in {
        "status": [expired, usable],
        "-status": [usable, expired],
        "models": [expired, usable],
        "-models": [usable, expired],
    }.items():
        assert keys_on(operator.page(f"/console/keys?q=may+look&sort={sort}")) == order, sort
    page = operator.page("/console/keys?sort=-role")
    of_readers = [">reader<" in row_of(page, key) for key in keys_on(page)]
    assert of_readers == sorted(of_readers, reverse=True)


@pytest.mark.parametrize("key", ["EXOunknown", "%00", "x" * 200, "%C3%A9"])
def test_a_key_that_there_is_not_is_not_found(operator: User, key: str) -> None:
    assert operator.client.get(f"/console/keys/{key}/revoke").status_code == 404
    assert operator.send(f"/console/keys/{key}/revoke").status_code == 404


def test_a_reader_sees_no_keys_and_makes_and_revokes_none(site: Site, operator: User) -> None:
    reader = site.reader()
    before = operator.page("/console/keys").count("data-key=")
    assert "/console/keys" not in reader.page("/console")
    for path in ("/console/keys", f"/console/keys/{KEY}/revoke"):
        assert reader.client.get(path).status_code == 403
        assert reader.send(path, name="mine", role=Role.OPERATOR, expires="").status_code == 403
    assert operator.page("/console/keys").count("data-key=") == before


def test_without_the_forms_token_no_key_is_made_or_revoked(site: Site, operator: User) -> None:
    key, _ = make_key(site.api)
    before = operator.page("/console/keys").count("data-key=")
    for path in ("/console/keys", f"/console/keys/{key}/revoke"):
        answer = operator.client.post(path, data={"name": "of-a-test", "role": "reader", "expires": ""})
        assert answer.status_code == 403
    page = operator.page("/console/keys")
    assert page.count("data-key=") == before
    assert 'data-action="revoke"' in row_of(page, key)


# The last test of this module: from here on there are many keys.
def test_very_many_keys_are_on_pages_of_fifty(site: Site, operator: User) -> None:
    known = run(site.api.database_url, lambda database: many.add_keys(database, 210))
    revoked = run(site.api.database_url, lambda database: many.add_keys(database, 30, revoked=True))
    new, _ = made(operator, name="the newest")
    first = operator.page("/console/keys")
    assert keys_on(first)[0] == new
    assert "Page 1 of " in first
    found: list[str] = []
    path: str | None = "/console/keys"
    while path is not None:
        page = operator.page(path)
        assert 0 < len(keys_on(page)) <= 50
        found += keys_on(page)
        following = re.search(r'rel="next" href="([^"]+)"', page)
        path = following[1] if following else None
    assert len(set(found)) == len(found)
    assert [key for key in found if key in known] == known[::-1]
    assert [key for key in found if key in revoked] == revoked[::-1]
    assert max(found.index(key) for key in known) < min(found.index(key) for key in revoked)
    for number in ("0", "-1", "many", "9" * 400):
        assert keys_on(operator.page(f"/console/keys?page={number}")) == keys_on(first)
    assert keys_on(operator.page("/console/keys?page=99999")) == found[-(len(found) % 50 or 50) :]


def keys_on(page: str) -> list[str]:
    return re.findall(r'<tr data-key="([^"]+)"', page)
