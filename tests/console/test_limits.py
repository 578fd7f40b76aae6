"""The console of a key that is limited to some models: pages that tell of others are not for it."""

import pytest

from tests.api.test_auth import make_key
from tests.console.conftest import Site, User

_WHOLE = ("/storage", "/workers", "/keys", "/audit")


class Limited:
    def __init__(self, site: Site) -> None:
        api = site.api
        self.ours, self.theirs = api.ready_model(), api.ready_model()
        self.name, self.their_name = (str(api.depot.model(one)["name"]) for one in (self.ours, self.theirs))
        for model_id in (self.ours, self.theirs):
            answer = api.ask("POST", "/ai/deployment", {"name": f"of-{model_id}", "model": {"id": model_id}})
            assert answer.status_code == 200, answer.text
        self.their_deployment = api.ask("GET", f"/ai/deployment?model={self.theirs}").json()["deployments"][0]["id"]
        self.user: User = site.user(*make_key(api, models=[self.name]))


@pytest.fixture(scope="module")
def limited(site: Site) -> Limited:
    return Limited(site)


@pytest.mark.parametrize("path", ["", "/deployments", "/activity", "?q=acme&status=ready"])
def test_lists_show_the_models_of_the_key_only(limited: Limited, path: str) -> None:
    shown = limited.user.page(f"/console{path}")
    assert limited.name in shown
    for foreign in (limited.their_name, limited.theirs, limited.their_deployment):
        assert foreign not in shown


@pytest.mark.parametrize("path", _WHOLE)
def test_a_page_about_the_whole_depot_is_refused_and_not_offered(site: Site, limited: Limited, path: str) -> None:
    assert limited.user.client.get(f"/console{path}").status_code == 403
    assert f'href="/console{path}"' not in limited.user.page("/console")
    assert f'href="/console{path}"' in site.user().page("/console")
    assert limited.user.page("/console/session").count(f"<code>{limited.name}</code>") == 1


def test_a_model_outside_is_not_there(site: Site, limited: Limited) -> None:
    before, user = site.api.stored(), limited.user
    for path in ("", "/retry", "/delete", "/about", "/files", "/arriving"):
        assert user.client.get(f"/console/models/{limited.theirs}{path}").status_code == 404
    for path in (f"/models/{limited.theirs}/retry", f"/models/{limited.theirs}/delete"):
        assert user.send(f"/console{path}", sure="yes").status_code == 404
    path = f"/console/deployments/{limited.their_deployment}/delete"
    assert user.client.get(path).status_code == 404
    assert user.send(path, sure="yes").status_code == 404
    assert user.send("/console/models/new", name=limited.their_name).status_code == 403
    assert user.send("/console/deployments", name="mine", model=limited.theirs).status_code == 404
    assert user.send("/console/keys", name="all of it", role="operator", expires="").status_code == 403
    assert site.api.stored() == before


def test_no_stream_tells_of_a_model_outside(limited: Limited) -> None:
    address = f"/console/events?models={limited.theirs},{limited.ours}"
    heard = ""
    with limited.user.client.stream("GET", address) as answer:
        for text in answer.iter_text():
            heard += text
            if heard.count("event: still-here") == 2:
                break
    assert f"event: model-{limited.ours}" in heard
    assert limited.theirs not in heard


def test_a_limited_key_is_made_and_shown(site: Site) -> None:
    user = site.user()
    answer = user.send(
        "/console/keys",
        name="limited",
        role="reader",
        expires="30",
        models="acme/* other/x",
        **{"auto-deployment": "yes"},
    )
    assert answer.status_code == 303
    page = user.page("/console/keys")
    assert "<code>acme/* other/x</code>" in page
    assert "adds deployments" in page
    refused = user.send("/console/keys", name="limited", role="reader", expires="30", models="acme")
    assert refused.status_code == 400
    assert 'value="acme"' in refused.text
