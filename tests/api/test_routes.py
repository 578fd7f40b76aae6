"""Every route of the contract: what it answers, in which shape, and when it refuses."""

import os
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest

from app.domain.errors import Reason
from tests import by_hand
from tests.api import contract
from tests.by_hand import Api
from tests.depot import KEY, SECRET
from tests.terminal import modeldepot

PREFIXES = ("/v2", "")


def test_a_create_answers_with_a_pending_operation_on_a_model_that_is_creating(api: Api) -> None:
    name = api.name()
    answer = api.ask("POST", "/ai/model", {"name": name})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    operation = answer.json()
    contract.check(contract.OPERATION, operation)
    model_id = operation["reference"]["id"]
    assert operation["state"] == "pending"
    assert operation["reference"] == {"id": model_id, "link": f"/v2/ai/model/{model_id}", "command": "get-model"}

    model = api.ask("GET", f"/ai/model/{model_id}").json()
    contract.check(contract.MODEL, model)
    assert (model["name"], model["revision"], model["include"], model["exclude"]) == (name, "main", [], [])
    assert (model["status"], model["state"], model["model-size"]) == ("creating", "creating", None)
    api.carry_out()


def test_a_create_takes_every_key_of_the_contract(api: Api) -> None:
    body = {
        "name": api.name(),
        "huggingface-token": "hf_anything",
        "revision": "refs/pr/1",
        "include": ["b/*.gguf", "a.json", "a.json"],
        "exclude": ["*.bin"],
    }
    operation = api.ask("POST", "/ai/model", body).json()
    model = api.depot.model(operation["reference"]["id"])
    assert (model["revision"], model["include"], model["exclude"]) == ("refs/pr/1", ["a.json", "b/*.gguf"], ["*.bin"])
    assert "hf_anything" not in str(operation) + str(model) + api.depot.logs()
    api.carry_out()


@pytest.mark.parametrize("empty", [None, ""])
def test_an_empty_token_is_the_same_as_none(api: Api, empty: str | None) -> None:
    assert api.ask("POST", "/ai/model", {"name": api.name(), "huggingface-token": empty}).status_code == 200
    api.carry_out()


def test_an_operation_says_how_its_work_ended(api: Api) -> None:
    good, bad = api.depot.create(api.name()), api.depot.create(api.name())
    api.carry_out()
    api.fail(Reason.FORBIDDEN)
    succeeded, failed = api.depot.wait(good["id"]), api.depot.wait(bad["id"])
    contract.check(contract.OPERATION, succeeded)
    contract.check(contract.OPERATION, failed)
    assert (succeeded["state"], failed["state"], failed["reason"]) == ("success", "failure", "forbidden")
    model = api.depot.model(bad["reference"]["id"])
    contract.check(contract.MODEL, model)
    assert (model["status"], model["reason"]) == ("error", "forbidden")


def test_a_list_shows_the_same_objects_as_a_get_oldest_first(api: Api) -> None:
    ids = [api.ready_model() for _ in range(3)]
    listed = api.ask("GET", "/ai/model").json()
    contract.check(contract.MODELS, listed)
    assert [model["id"] for model in listed["models"]][-3:] == ids
    assert listed["models"][-1] == api.depot.model(ids[-1])


def test_a_ready_model_lists_its_files(api: Api) -> None:
    answer = api.ask("GET", f"/ai/model/{api.ready_model()}/files").json()
    contract.check(contract.FILES, answer)
    assert [(file["path"], file["size"], file["sha256"]) for file in answer["files"]] == by_hand.FILES


def test_a_model_that_is_not_ready_has_no_files_to_list(api: Api) -> None:
    operation = api.depot.create(api.name())
    answer = api.ask("GET", f"/ai/model/{operation['reference']['id']}/files")
    assert answer.status_code == 409
    contract.check(contract.ERROR, answer.json())
    api.carry_out()


def test_a_second_create_is_refused_with_the_id_of_the_first_until_that_is_in_error(api: Api) -> None:
    name = api.name()
    first = api.depot.create(name)
    model_id = first["reference"]["id"]
    answer = api.ask("POST", "/ai/model", {"name": name})
    assert answer.status_code == 409
    contract.check(contract.ERROR, answer.json())
    assert model_id in answer.json()["error"]

    api.fail()
    second = api.depot.create(name)
    assert second["id"] != first["id"]
    assert second["reference"]["id"] == model_id
    assert api.depot.model(model_id)["status"] == "creating"
    assert api.depot.model(model_id)["reason"] is None

    api.carry_out()
    assert api.ask("POST", "/ai/model", {"name": name}).status_code == 409


def test_another_revision_or_other_patterns_are_another_model(api: Api) -> None:
    name = api.name()
    bodies: list[dict[str, object]] = [{}, {"revision": "dev"}, {"include": ["*.gguf"]}, {"exclude": ["*.gguf"]}]
    ids = {api.ask("POST", "/ai/model", {"name": name, **body}).json()["reference"]["id"] for body in bodies}
    assert len(ids) == len(bodies)
    for _ in bodies:
        api.carry_out()


def test_the_order_of_patterns_makes_no_difference(api: Api) -> None:
    name = api.name()
    assert api.ask("POST", "/ai/model", {"name": name, "include": ["a", "b"]}).status_code == 200
    assert api.ask("POST", "/ai/model", {"name": name, "include": ["b", "a", "b"]}).status_code == 409
    api.carry_out()


def test_a_delete_shows_the_model_until_it_is_done_and_then_its_name_is_free(api: Api) -> None:
    name = api.name()
    model_id = api.depot.create(name)["reference"]["id"]
    api.carry_out()
    deletion = api.ask("DELETE", f"/ai/model/{model_id}").json()
    contract.check(contract.OPERATION, deletion)
    assert deletion["state"] == "pending"
    assert deletion["reference"]["id"] == model_id
    assert api.ask("DELETE", f"/ai/model/{model_id}").json() == deletion
    assert api.depot.model(model_id)["status"] == "ready"
    assert api.ask("POST", "/ai/deployment", {"name": "late", "model": {"id": model_id}}).status_code == 412
    assert api.ask("POST", "/ai/model", {"name": name}).status_code == 409

    api.carry_out()
    assert api.depot.wait(deletion["id"])["state"] == "success"
    assert api.ask("GET", f"/ai/model/{model_id}").status_code == 404
    assert api.ask("DELETE", f"/ai/model/{model_id}").status_code == 404
    assert api.depot.create(name)["reference"]["id"] != model_id
    api.carry_out()


def test_a_delete_ends_the_operation_that_still_fetches(api: Api) -> None:
    operation = api.depot.create(api.name(), huggingface_token="hf_of_a_model_that_goes")
    by_hand.run(api.database_url, partial(by_hand.claim, lease=0.0))
    deletion = api.ask("DELETE", f"/ai/model/{operation['reference']['id']}").json()
    assert deletion["state"] == "pending"
    interrupted = api.depot.wait(operation["id"])
    contract.check(contract.OPERATION, interrupted)
    assert (interrupted["state"], interrupted["reason"]) == ("failure", "interrupted")
    api.carry_out()
    assert api.depot.wait(deletion["id"])["state"] == "success"


def test_a_delete_of_what_no_worker_has_begun_has_ended_at_once(api: Api) -> None:
    operation = api.depot.create(api.name())
    deletion = api.ask("DELETE", f"/ai/model/{operation['reference']['id']}").json()
    contract.check(contract.OPERATION, deletion)
    assert deletion["state"] == "success"
    assert api.ask("GET", f"/ai/model/{operation['reference']['id']}").status_code == 404
    interrupted = api.ask("GET", f"/operation/{operation['id']}").json()
    assert (interrupted["state"], interrupted["reason"]) == ("failure", "interrupted")


def test_a_model_that_is_being_deleted_says_so_and_gives_no_path(api: Api, tmp_path: Path) -> None:
    model_id = api.ready_model()
    before = api.depot.model(model_id)
    assert before["path"]
    assert before["deleting"] is False
    assert api.ask("DELETE", f"/ai/model/{model_id}").json()["state"] == "pending"
    for model in (api.depot.model(model_id), api.stored()[0]["models"][-1]):
        contract.check(contract.MODEL, model)
        assert (model["id"], model["status"], model["deleting"]) == (model_id, "ready", True)
        assert "path" not in model
    where = {"DEPOT_URL": f"http://127.0.0.1:{api.depot.port}", "DEPOT_KEY": KEY, "DEPOT_SECRET": SECRET}
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)} | where
    for words in (("ls",), ("show", before["name"])):
        told = modeldepot(environment, *words).stdout
        (line,) = [line for line in told.splitlines() if "deleting" in line]
        assert "ready" not in line
        assert str(before["path"]) not in told
    api.fail()
    after = api.depot.model(model_id)
    assert (after["status"], after["deleting"]) == ("error", False)
    assert "path" not in after


def test_a_model_in_use_is_not_deleted_and_the_answer_names_its_deployments(api: Api) -> None:
    model_id = api.ready_model()
    created = [
        api.ask("POST", "/ai/deployment", {"name": name, "model": {"id": model_id}}).json() for name in ("one", "two")
    ]
    ids = [operation["reference"]["id"] for operation in created]
    answer = api.ask("DELETE", f"/ai/model/{model_id}")
    assert answer.status_code == 412
    contract.check(contract.IN_USE, answer.json())
    assert answer.json()["deployments"] == ids
    for deployment_id in ids:
        assert api.ask("DELETE", f"/ai/deployment/{deployment_id}").json()["state"] == "success"
    assert api.ask("DELETE", f"/ai/model/{model_id}").status_code == 200
    api.carry_out()


def test_a_deployment_is_ready_at_once_and_says_what_it_was_told(api: Api) -> None:
    model_id = api.ready_model()
    body = {
        "name": "chat",
        "model": {"name": api.depot.model(model_id)["name"]},
        "gpu-type": "gpua5000",
        "gpu-count": 2,
        "replicas": 1,
        "inference-engine-version": "0.15.1",
        "inference-engine-parameters": ["--max-model-len=4096"],
        "deployment-url": "http://chat.example:8000/v1",
    }
    operation = api.ask("POST", "/ai/deployment", body).json()
    contract.check(contract.OPERATION, operation)
    assert (operation["state"], operation["reference"]["command"]) == ("success", "get-deployment")
    deployment_id = operation["reference"]["id"]
    assert operation["reference"]["link"] == f"/v2/ai/deployment/{deployment_id}"

    deployment = api.ask("GET", f"/ai/deployment/{deployment_id}").json()
    contract.check(contract.DEPLOYMENT, deployment)
    assert {key: deployment[key] for key in body if key != "model"} == {k: v for k, v in body.items() if k != "model"}
    assert deployment["model"] == {"id": model_id, "name": api.depot.model(model_id)["name"]}
    listed = api.ask("GET", "/ai/deployment").json()
    contract.check(contract.DEPLOYMENTS, listed)
    assert listed["deployments"][-1] == deployment

    deleted = api.ask("DELETE", f"/ai/deployment/{deployment_id}").json()
    contract.check(contract.OPERATION, deleted)
    assert deleted["state"] == "success"
    for method in ("GET", "DELETE"):
        assert api.ask(method, f"/ai/deployment/{deployment_id}").status_code == 404


def test_a_deployment_needs_only_a_name_and_a_model(api: Api) -> None:
    operation = api.ask("POST", "/ai/deployment", {"name": "least", "model": {"id": api.ready_model()}}).json()
    deployment = api.ask("GET", f"/ai/deployment/{operation['reference']['id']}").json()
    contract.check(contract.DEPLOYMENT, deployment)
    # Newer clients' types refuse null.
    assert {"gpu-type", "gpu-count", "replicas", "inference-engine-version"} & set(deployment) == set()
    assert None not in deployment.values()
    assert deployment in api.ask("GET", "/ai/deployment").json()["deployments"]


def test_a_model_that_is_not_ready_takes_no_deployment(api: Api) -> None:
    model_id = api.depot.create(api.name())["reference"]["id"]
    answer = api.ask("POST", "/ai/deployment", {"name": "early", "model": {"id": model_id}})
    assert answer.status_code == 412
    contract.check(contract.ERROR, answer.json())
    api.carry_out()


@pytest.mark.parametrize("model", [{"id": str(UUID(int=7))}, {"name": "nobody/has-this"}])
def test_a_model_that_is_not_there_takes_no_deployment(api: Api, model: dict[str, str]) -> None:
    answer = api.ask("POST", "/ai/deployment", {"name": "lost", "model": model})
    assert answer.status_code == 404
    contract.check(contract.ERROR, answer.json())


def test_a_name_that_two_models_share_does_not_tell_which_to_deploy(api: Api) -> None:
    name = api.name()
    for revision in ("main", "dev"):
        api.depot.create(name, revision=revision)
        api.carry_out()
    answer = api.ask("POST", "/ai/deployment", {"name": "which", "model": {"name": name}})
    assert answer.status_code == 400
    assert answer.json()["field"] == "model"


def test_the_one_zone_is_this_server(api: Api) -> None:
    zones = api.ask("GET", "/zone").json()
    contract.check(contract.ZONES, zones)
    assert zones["zones"][0]["api-endpoint"] == f"http://127.0.0.1:{api.depot.port}/v2"


def test_every_route_is_served_with_and_without_its_prefix(api: Api) -> None:
    model_id = api.ready_model()
    operation = api.ask("POST", "/ai/deployment", {"name": "twice", "model": {"id": model_id}}).json()
    deployment_id = operation["reference"]["id"]
    paths = [
        "/ai/model",
        f"/ai/model/{model_id}",
        f"/ai/model/{model_id}/files",
        "/ai/deployment",
        f"/ai/deployment/{deployment_id}",
        f"/operation/{operation['id']}",
        "/zone",
    ]
    for path in paths:
        with_it, without = (_at(api, "GET", prefix + path) for prefix in PREFIXES)
        assert with_it.status_code == without.status_code == 200
        assert with_it.json() == without.json()
    assert _at(api, "DELETE", f"/ai/deployment/{deployment_id}").status_code == 200
    assert _at(api, "DELETE", f"/ai/model/{model_id}").status_code == 200
    api.carry_out()
    assert _at(api, "POST", "/ai/model", json={"name": api.name()}).status_code == 200
    api.carry_out()


@pytest.mark.parametrize(
    "identifier", [str(UUID(int=7)), "x", "1", "%00", "a" * 1000, str(UUID(int=1))[:-1], "%ff", "{id}"]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/ai/model/{}"),
        ("DELETE", "/ai/model/{}"),
        ("GET", "/ai/model/{}/files"),
        ("GET", "/ai/model/{}/latest"),
        ("GET", "/ai/model/{}/events"),
        ("GET", "/operation/{}"),
        ("GET", "/ai/deployment/{}"),
        ("DELETE", "/ai/deployment/{}"),
    ],
)
def test_an_id_that_nothing_has_or_that_is_no_uuid_is_not_found(
    api: Api, method: str, path: str, identifier: str
) -> None:
    answer = api.ask(method, path.replace("{}", identifier))
    assert answer.status_code == 404
    contract.check(contract.ERROR, answer.json())


def _at(api: Api, method: str, path: str, **given: Any) -> httpx2.Response:
    return api.depot.client.request(method, f"http://127.0.0.1:{api.depot.port}{path}", **given)
