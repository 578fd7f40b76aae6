"""Links that sign in once: whom they are for, how long, and what else they open."""

import json
import re
import time
from dataclasses import asdict, replace
from urllib.parse import unquote

import httpx2

from app.console import sign_in_links as links
from app.domain.keys import Role
from app.sealing import Sealer, new_key
from tests.api.test_auth import SECONDS_TO_REVOKE, audited, make_key
from tests.console.conftest import Site
from tests.depot import KEY, SECRET_KEY
from tests.processes import until

SEALER = Sealer([SECRET_KEY])


def token(key: str = KEY, sealer: Sealer = SEALER) -> str:
    return unquote(links.new(sealer, "", key).partition("?link=")[2])


def use(site: Site, link: str) -> httpx2.Response:
    return site.stranger().post("/console/sign-in", data={"link": link})


def test_a_link_signs_in_once_even_after_a_sign_out_everywhere(site: Site) -> None:
    key, _ = make_key(site.api, Role.READER)
    link, stranger = token(key), site.stranger()
    for _ in range(2):  # a mere look at it uses nothing up
        page = stranger.get("/console/sign-in", params={"link": link}).text
        assert f'name="link" value="{link}"' in page
        assert 'name="key"' not in page
    assert stranger.post("/console/sign-in", data={"link": link}).status_code == 303
    shown = stranger.get("/console/session").text
    assert key in shown
    assert use(site, link).status_code == 403
    csrf = re.findall(r'name="csrf" value="([^"]+)"', shown)[0]
    assert stranger.post("/console/sign-out-everywhere", data={"csrf": csrf}).status_code == 303
    again = use(site, link)
    assert again.status_code == 403
    assert 'role="alert"' in again.text
    assert "set-cookie" not in again.headers
    assert [(row.action, row.outcome) for row in audited(site.api, key)] == [
        ("sign-in", "accepted"),
        ("sign-out-everywhere", "accepted"),
    ]


def test_a_link_that_is_another_depots_or_expired_or_of_no_key_signs_nobody_in(site: Site) -> None:
    for link in ("", "nonsense", token(sealer=Sealer([new_key()])), token("EXOnobody")):
        assert use(site, link).status_code == 403
    opened = links.opened(SEALER, token())
    assert opened is not None
    past = json.dumps(asdict(replace(opened, expires=time.time() - 1)))
    late = SEALER.seal(past, belongs_to="sign-in link")
    assert use(site, late).status_code == 403
    # A session's cookie is sealed with the same key, and is no link.
    cookie = unquote(site.user().client.cookies["depot-session"])
    assert use(site, cookie).status_code == 403


def test_a_link_of_a_revoked_key_signs_nobody_in(site: Site) -> None:
    key, _ = make_key(site.api)
    assert site.user().send(f"/console/keys/{key}/revoke").status_code == 303
    until(lambda: use(site, token(key)).status_code == 403, site.api.depot.logs, SECONDS_TO_REVOKE)
