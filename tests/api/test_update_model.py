"""PATCH of a model over HTTP: pause, resume and priority, what is refused, and the audit."""

from typing import Any

import pytest

from app.domain.keys import Role
from tests.api import contract
from tests.api.test_auth import audited, make_key
from tests.by_hand import Api
from tests.depot import KEY

_NOWHERE = "00000000-0000-0000-0000-000000000007"


def test_a_model_is_paused_prioritised_and_resumed_and_all_of_it_is_audited(api: Api) -> None:
    name = api.name()
    operation = api.depot.create(name)
    model_id = operation["reference"]["id"]
    changes: list[tuple[dict[str, Any], bool, int]] = [
        ({"paused": True}, True, 0),
        ({"paused": True, "priority": 7}, True, 7),
        ({"priority": None}, True, 7),
        ({}, True, 7),
        ({"paused": False, "priority": -2.0}, False, -2),
        ({"paused": False}, False, -2),
    ]
    for change, paused, priority in changes:
        answer = api.ask("PATCH", f"/ai/model/{model_id}", change)
        assert answer.status_code == 200, answer.text
        model = answer.json()
        contract.check(contract.MODEL, model)
        assert (model["paused"], model["priority"]) == (paused, priority)
        assert api.depot.model(model_id) == model
        said = api.ask("GET", f"/operation/{operation['id']}").json()
        contract.check(contract.OPERATION, said)
        assert (said["state"], "paused" in said.get("message", "")) == ("pending", paused)
    rows = [row for row in audited(api, KEY) if row.resource_id and str(row.resource_id) == model_id]
    assert [(row.action, row.outcome) for row in rows if row.action == "update-model"] == [
        ("update-model", "accepted")
    ] * len(changes)
    assert {row.resource_name for row in rows} == {name}
    assert api.ask("DELETE", f"/ai/model/{model_id}").status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"paused": "yes"}, "paused"),
        ({"paused": 1}, "paused"),
        ({"priority": True}, "priority"),
        ({"priority": 101}, "priority"),
        ({"priority": 0.5}, "priority"),
        ({"pause": True}, "pause"),
        ([], None),
    ],
    ids=str,
)
def test_a_wrong_change_is_refused_by_name(api: Api, body: Any, field: str | None) -> None:
    answer = api.ask("PATCH", f"/ai/model/{_NOWHERE}", body)
    assert answer.status_code == 400
    contract.check(contract.ERROR, answer.json())
    assert field is None or field in answer.json()["error"]


def test_what_is_not_there_or_not_being_fetched_or_not_the_callers_is_refused(api: Api) -> None:
    assert api.ask("PATCH", f"/ai/model/{_NOWHERE}", {"paused": True}).status_code == 404
    model_id = api.ready_model()
    refused = api.ask("PATCH", f"/ai/model/{model_id}", {"paused": True, "priority": 9})
    assert (refused.status_code, refused.json()["field"]) == (409, "paused")
    contract.check(contract.ERROR, refused.json())
    assert api.depot.model(model_id)["priority"] == 0
    key, secret = make_key(api, Role.READER)
    headers = {"Authorization": f"Bearer {key}:{secret}"}
    assert api.ask("PATCH", f"/ai/model/{model_id}", {"priority": 1}, headers=headers).status_code == 403
    assert api.ask("PATCH", f"/ai/model/{model_id}", {"priority": 1}).json()["priority"] == 1
