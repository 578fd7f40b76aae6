"""A key that is limited to some models, on every route: to it, other models do not exist."""

from typing import Any
from uuid import uuid4

import httpx2
import pytest

from app.domain.keys import Role
from tests.api.test_auth import bearer, make_key
from tests.by_hand import Api


class Limited:
    """The holder of a key that opens one model of two, each of which has a deployment."""

    def __init__(self, api: Api, role: Role = Role.OPERATOR) -> None:
        self.api = api
        self.ours, self.theirs = api.ready_model(), api.ready_model()
        self.name, self.their_name = (str(api.depot.model(one)["name"]) for one in (self.ours, self.theirs))
        self.deployment, self.their_deployment = (self._deployed(one) for one in (self.ours, self.theirs))
        self.key, self.secret = make_key(api, role, models=[self.name.upper()])

    def ask(self, method: str, path: str, body: Any = None) -> httpx2.Response:
        given: dict[str, Any] = {} if body is None else {"json": body}
        address = f"http://127.0.0.1:{self.api.depot.port}{path}"
        return httpx2.request(method, address, headers=bearer(self.key, self.secret), timeout=30, verify=False, **given)

    def _deployed(self, model_id: str) -> str:
        answer = self.api.ask("POST", "/ai/deployment", {"name": f"of-{model_id}", "model": {"id": model_id}})
        return str(answer.json()["reference"]["id"])


@pytest.fixture(scope="module")
def limited(api: Api) -> Limited:
    return Limited(api)


@pytest.mark.parametrize("base", ["", "/v2"])
def test_lists_hold_the_models_of_the_key_only(limited: Limited, base: str) -> None:
    for query in ("", "?limit=10", f"?name={limited.name}", "?status=ready", f"?after={limited.ours}"):
        found = [model["id"] for model in limited.ask("GET", f"{base}/ai/model{query}").json()["models"]]
        assert found == ([] if "after" in query else [limited.ours]), query
    assert limited.ask("GET", f"{base}/ai/model?name={limited.their_name}").json() == {"models": []}
    listed = limited.ask("GET", f"{base}/ai/deployment").json()["deployments"]
    assert [deployment["id"] for deployment in listed] == [limited.deployment]
    assert limited.ask("GET", f"{base}/ai/deployment?model={limited.theirs}").json() == {"deployments": []}
    # A place in the list is none, either.
    after = [limited.ask("GET", f"{base}/ai/model?after={one}") for one in (limited.theirs, uuid4())]
    assert [answer.status_code for answer in after] == [400, 400]


@pytest.mark.parametrize("base", ["", "/v2"])
def test_a_model_outside_is_answered_like_one_that_is_not_there(limited: Limited, base: str) -> None:
    routes: list[tuple[str, str, Any]] = [
        ("GET", "/ai/model/{model}", None),
        ("GET", "/ai/model/{model}/files", None),
        ("GET", "/ai/model/{model}/events", None),
        ("GET", "/ai/model/{model}/latest", None),
        ("DELETE", "/ai/model/{model}", None),
        ("GET", "/ai/deployment/{deployment}", None),
        ("GET", "/ai/deployment/{deployment}/logs", None),
        ("GET", "/ai/deployment/{deployment}/api-key", None),
        ("PATCH", "/ai/deployment/{deployment}", {"name": "taken over"}),
        ("POST", "/ai/deployment/{deployment}/scale", {"replicas": 0}),
        ("DELETE", "/ai/deployment/{deployment}", None),
        ("POST", "/ai/deployment", {"name": "mine now", "model": {"id": "{model}"}}),
    ]
    before = limited.api.stored()
    for method, path, body in routes:
        answers = []
        for model, deployment in ((limited.theirs, limited.their_deployment), (str(uuid4()), str(uuid4()))):
            filled = body and {**body, **({"model": {"id": model}} if "model" in body else {})}
            answer = limited.ask(method, base + path.format(model=model, deployment=deployment), filled)
            answers.append((answer.status_code, answer.text.replace(model, "ID").replace(deployment, "ID")))
        assert answers[0] == answers[1], path
        assert answers[0][0] == 404, path
    named = [{"name": "mine", "model": {"name": name}} for name in (limited.their_name, "acme/nowhere")]
    refused = [limited.ask("POST", f"{base}/ai/deployment", body) for body in named]
    assert [answer.status_code for answer in refused] == [404, 404]
    assert limited.api.stored() == before


def test_a_model_of_the_key_is_as_with_any_key(limited: Limited) -> None:
    assert limited.ask("GET", f"/ai/model/{limited.ours}").json()["id"] == limited.ours
    assert limited.ask("GET", f"/ai/model/{limited.ours}/files").status_code == 200
    assert "event: end" in limited.ask("GET", f"/v2/ai/model/{limited.ours}/events").text
    assert limited.ask("GET", f"/ai/deployment/{limited.deployment}").status_code == 200
    body = {"name": f"second-{uuid4()}", "model": {"name": limited.name}}
    made = limited.ask("POST", "/ai/deployment", body).json()
    gone = limited.ask("DELETE", f"/ai/deployment/{made['reference']['id']}").json()
    # The operation is its caller's even when the deployment is gone.
    for operation in (made, gone):
        assert limited.ask("GET", f"/operation/{operation['id']}").json() == operation


def test_an_operation_on_a_model_outside_is_not_there(limited: Limited) -> None:
    for body in ({"name": limited.their_name, "revision": "other"}, {"name": limited.name, "revision": "other"}):
        operation = limited.api.ask("POST", "/ai/model", body).json()
        for base in ("", "/v2"):
            answer = limited.ask("GET", f"{base}/operation/{operation['id']}")
            assert answer.status_code == (200 if body["name"] == limited.name else 404)
        limited.api.carry_out()


def test_only_models_of_the_key_can_be_asked_for(limited: Limited) -> None:
    refused = limited.ask("POST", "/ai/model", {"name": limited.api.name()})
    assert (refused.status_code, refused.json()["field"]) == (403, "name")
    assert limited.name.upper() in refused.json()["error"]
    assert limited.ask("POST", "/ai/model", {"name": limited.name, "revision": "mine"}).status_code == 200
    limited.api.carry_out()


def test_a_conflict_does_not_tell_whose_the_name_is(limited: Limited) -> None:
    taken = {"name": f"of-{limited.theirs}", "model": {"id": limited.ours}}
    for refused in (
        limited.ask("POST", "/ai/deployment", taken),
        limited.ask("PATCH", f"/ai/deployment/{limited.deployment}", {"name": taken["name"]}),
    ):
        assert refused.status_code == 409
        assert limited.their_deployment not in refused.text


def test_a_limited_key_neither_shows_nor_makes_keys(limited: Limited) -> None:
    before = limited.api.ask("GET", "/ai/api-key").json()
    for method, path, body in (
        ("GET", "/ai/api-key", None),
        ("GET", f"/ai/api-key/{before['ai-api-keys'][0]['id']}", None),
        ("POST", "/ai/api-key", {"name": "all of it", "role": "operator"}),
        ("DELETE", f"/ai/api-key/{before['ai-api-keys'][0]['id']}", None),
    ):
        assert limited.ask(method, path, body).status_code == 403, path
    assert limited.api.ask("GET", "/ai/api-key").json() == before


def test_a_limit_is_made_and_shown_over_the_api(api: Api) -> None:
    body = {"name": "vllm", "models": ["acme/*", "acme/*"], "auto-deployment": True}
    made = api.ask("POST", "/ai/api-key", body).json()
    assert (made["models"], made["auto-deployment"]) == (["acme/*"], True)
    shown = api.ask("GET", f"/ai/api-key/{made['id']}").json()
    assert (shown["models"], shown["auto-deployment"]) == (["acme/*"], True)
    refused = api.ask("POST", "/ai/api-key", body | {"models": ["acme"]})
    assert (refused.status_code, refused.json()["field"]) == (400, "models")


def test_a_deployment_is_bound_to_a_key_that_there_is(api: Api) -> None:
    key, _ = make_key(api, Role.READER)
    body = {"name": f"bound-{uuid4()}", "model": {"id": api.ready_model()}, "key": key}
    deployment_id = api.ask("POST", "/ai/deployment", body).json()["reference"]["id"]
    shown = api.ask("GET", f"/ai/deployment/{deployment_id}").json()
    assert shown["key"] == key
    assert "last-seen-at" not in shown
    refused = api.ask("POST", "/ai/deployment", body | {"name": "unbound", "key": "EXOnobody"})
    assert (refused.status_code, refused.json()["field"]) == (400, "key")
