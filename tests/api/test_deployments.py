"""Deployments after they were made: named, scaled, asked about; and whose they are."""

from typing import Any

import pytest

from app.db.session import Database
from app.db.transitions import move_model
from app.domain.states import ModelStatus
from tests import by_hand
from tests.api import contract
from tests.api.test_auth import audited
from tests.by_hand import Api
from tests.depot import KEY

_NOWHERE = "00000000-0000-0000-0000-000000000007"


def deployed(api: Api, **fields: Any) -> str:
    """The id of a new deployment, called after its model unless it has a name."""
    model_id = api.ready_model()
    body = {"name": f"of-{model_id}", "model": {"id": model_id}} | fields
    answer = api.ask("POST", "/ai/deployment", body)
    assert answer.status_code == 200, answer.text
    deployment_id: str = answer.json()["reference"]["id"]
    return deployment_id


def shown(api: Api, deployment_id: str) -> Any:
    deployment = api.ask("GET", f"/ai/deployment/{deployment_id}").json()
    contract.check(contract.DEPLOYMENT, deployment)
    return deployment


def test_a_name_that_a_deployment_has_is_refused_until_that_is_gone(api: Api) -> None:
    first = deployed(api, name="only one")
    body = {"name": "only one", "model": {"id": api.ready_model()}}
    refused = api.ask("POST", "/ai/deployment", body)
    assert (refused.status_code, refused.json()["field"]) == (409, "name")
    contract.check(contract.ERROR, refused.json())
    assert first in refused.json()["error"]
    assert api.ask("DELETE", f"/ai/deployment/{first}").status_code == 200
    assert api.ask("POST", "/ai/deployment", body).status_code == 200


def test_what_a_change_says_is_stored_and_the_rest_stays(api: Api) -> None:
    given = {"inference-engine-version": "0.15.1", "inference-engine-parameters": ["--a"], "gpu-type": "gpua5000"}
    deployment_id = deployed(api, **given)
    before = shown(api, deployment_id)
    changes: list[dict[str, Any]] = [
        {"name": f"another {api.depot.port}"},
        {"inference-engine-version": "0.28.0"},
        {"inference-engine-parameters": ["--b", "--c"]},
        {"inference-engine-parameters": []},
        {"name": None},
        {},
    ]
    for change in changes:
        answer = api.ask("PATCH", f"/ai/deployment/{deployment_id}", change)
        assert answer.status_code == 200, answer.text
        contract.check(contract.OPERATION, answer.json())
        assert (answer.json()["state"], answer.json()["reference"]["id"]) == ("success", deployment_id)
        assert api.ask("GET", f"/operation/{answer.json()['id']}").json() == answer.json()
        before |= {key: value for key, value in change.items() if value is not None}
        after = shown(api, deployment_id)
        assert after.pop("updated-at") >= before["updated-at"]
        assert after == {key: value for key, value in before.items() if key != "updated-at"}


def test_a_change_to_a_name_that_another_has_is_refused_and_changes_nothing(api: Api) -> None:
    deployed(api, name="taken already")
    deployment_id = deployed(api)
    before = shown(api, deployment_id)
    change = {"name": "taken already", "inference-engine-version": "0.28.0"}
    answer = api.ask("PATCH", f"/ai/deployment/{deployment_id}", change)
    assert (answer.status_code, answer.json()["field"]) == (409, "name")
    assert shown(api, deployment_id) == before


@pytest.mark.parametrize("replicas", [0, 1, 7.0])
def test_a_deployment_is_scaled_also_to_none_and_still_holds_its_model(api: Api, replicas: float) -> None:
    deployment_id = deployed(api, replicas=2)
    answer = api.ask("POST", f"/ai/deployment/{deployment_id}/scale", {"replicas": replicas})
    contract.check(contract.OPERATION, answer.json())
    assert shown(api, deployment_id)["replicas"] == replicas
    assert api.ask("DELETE", f"/ai/model/{shown(api, deployment_id)['model']['id']}").status_code == 412


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("PATCH", "", {"name": ""}, "name"),
        ("PATCH", "", {"name": "d" * 251}, "name"),
        ("PATCH", "", {"gpu-count": 2}, "gpu-count"),
        ("PATCH", "", {"inference-engine-parameters": "--a"}, "inference-engine-parameters"),
        ("POST", "/scale", {}, "replicas"),
        ("POST", "/scale", {"replicas": -1}, "replicas"),
        ("POST", "/scale", {"replicas": None}, "replicas"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused_by_its_field(
    api: Api, method: str, path: str, body: Any, field: str
) -> None:
    deployment_id = deployed(api)
    before = shown(api, deployment_id)
    answer = api.ask(method, f"/ai/deployment/{deployment_id}{path}", body)
    assert (answer.status_code, answer.json()["field"]) == (400, field)
    contract.check(contract.ERROR, answer.json())
    assert shown(api, deployment_id) == before


@pytest.mark.parametrize("deployment_id", [_NOWHERE, "no-uuid"])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "", {"name": "d"}),
        ("POST", "/scale", {"replicas": 1}),
        ("GET", "/logs", None),
        ("GET", "/api-key", None),
    ],
)
def test_a_deployment_that_is_not_there_is_not_found(
    api: Api, deployment_id: str, method: str, path: str, body: Any
) -> None:
    answer = api.ask(method, f"/ai/deployment/{deployment_id}{path}", body)
    assert answer.status_code == 404
    contract.check(contract.ERROR, answer.json())


def test_each_change_is_audited_with_the_deployments_name(api: Api) -> None:
    deployment_id = deployed(api)
    api.ask("PATCH", f"/ai/deployment/{deployment_id}", {"name": f"renamed {deployment_id}"})
    api.ask("POST", f"/ai/deployment/{deployment_id}/scale", {"replicas": 3})
    api.ask("POST", f"/ai/deployment/{deployment_id}/scale", {"replicas": -3})
    rows = [row for row in audited(api, KEY) if str(row.resource_id) == deployment_id]
    assert [(row.action, row.outcome) for row in rows] == [
        ("create-deployment", "accepted"),
        ("update-deployment", "accepted"),
        ("scale-deployment", "accepted"),
        ("scale-deployment", "400 Bad Request"),
    ]
    assert {row.resource_name for row in rows[1:]} == {f"renamed {deployment_id}"}


def test_a_list_is_of_the_visibility_that_is_asked_for(api: Api) -> None:
    deployment_id = deployed(api, **{"product-name": "taken and ignored"})
    assert "product-name" not in shown(api, deployment_id)
    everything = api.ask("GET", "/ai/deployment").json()
    assert deployment_id in {one["id"] for one in everything["deployments"]}
    assert api.ask("GET", "/ai/deployment", params={"visibility": "private"}).json() == everything
    assert api.ask("GET", "/ai/deployment", params={"visibility": "public"}).json() == {"deployments": []}
    for wrong in ("bogus", "Private", ""):
        answer = api.ask("GET", "/ai/deployment", params={"visibility": wrong})
        assert (answer.status_code, answer.json()["field"]) == (400, "visibility")


def test_what_only_who_runs_deployments_could_tell_is_answered_truthfully(api: Api) -> None:
    deployment_id = deployed(api, **{"deployment-url": "http://chat.example/v1"})
    path = f"/ai/deployment/{deployment_id}"
    assert api.ask("GET", f"{path}/logs", params={"tail": "10", "stream": "true"}).json() == {"logs": []}
    assert api.ask("GET", f"{path}/logs", params={"tail": "ten"}).json()["field"] == "tail"
    key = api.ask("GET", f"{path}/api-key")
    assert key.status_code == 404
    contract.check(contract.ERROR, key.json())
    assert "http://chat.example/v1" in key.json()["error"]
    assert api.ask("GET", "/ai/instance-type").json() == {"instance-types": []}
    assert api.ask("GET", "/ai/help/inference-engine-parameters", params={"version": "0.28.0"}).json() == {
        "parameters": []
    }
    assert api.ask("GET", "/ai/quota").json() == {"quota-uom-per-minute": None}


def test_a_models_size_is_known_from_the_manifest_on(api: Api) -> None:
    """Not only once everything is there."""
    operation = api.depot.create(api.name())
    model_id = operation["reference"]["id"]
    assert api.depot.model(model_id)["model-size"] is None

    async def begin(database: Database) -> None:
        claim = await by_hand.claim(database)
        assert claim is not None
        async with database.begin() as connection:
            arrived = {"downloaded": 0, "total": 4_000_000}
            await move_model(connection, claim.resource_id, ModelStatus.DOWNLOADING, lease=claim.lease, **arrived)

    by_hand.run(api.database_url, begin)
    assert api.depot.model(model_id)["status"] == "downloading"
    assert api.depot.model(model_id)["model-size"] == 4_000_000
    listed = {model["id"]: model["model-size"] for model in api.stored()[0]["models"]}
    assert listed[model_id] == 4_000_000
