"""Branches that move on the Hub: each is looked up from time to time, told of once, and fetched beside what is kept."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx2
import pytest
from sqlalchemy import select, update

from app.db.clock import moment
from app.db.session import Database
from app.db.tables import ModelRow
from app.db.webhook_tables import WebhookRow
from app.domain import repositories
from app.domain.repositories import Selection
from app.services import models, updates
from app.services.updates import Branch
from tests import by_hand
from tests.api import contract
from tests.conftest import StartDepot
from tests.depot import CREDENTIALS, Depot
from tests.fakehub.hub import Fault, Hub, Repo
from tests.processes import until
from tests.receiver import Receiver, receiving
from tests.terminal import modeldepot
from tests.worker.test_lookups import fetched, latest

NAME = "acme/model"
TOKEN = "hf_planted"
COMMIT, NEWER, NEWEST = "c" * 40, "d" * 40, "e" * 40
"""The first is what models have that are made by hand."""
HOUR = 3600.0
SECRET = f"whsec_{'YQ' * 20}"
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
def repo(hub: Hub) -> Repo:
    return hub.add(NAME, {"config.json": b"{}", "model.safetensors": b"weights"})


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


async def test_each_branch_is_claimed_once_in_an_interval_the_longest_due_first(database: Database) -> None:
    first, second = [await _ready(database, _selection(name=f"acme/{name}")) for name in ("first", "second")]
    part = await _ready(database, _selection(name="acme/first", include=["*.json"]))
    of_commit = await _ready(database, _selection(name="acme/commit", revision=COMMIT))
    await _ready(database, _selection(name="acme/fetched-just-now"))
    await _age(database, {first: 2 * HOUR, part: 2 * HOUR, second: 3 * HOUR, of_commit: 9 * HOUR})
    assert [await _claim(database) for _ in range(3)] == [
        Branch("acme/second", "main"),
        Branch("acme/first", "main"),
        None,
    ]
    await _age(database, {second: 2 * HOUR})
    assert await _claim(database) == Branch("acme/second", "main")


@POSTGRESQL
async def test_many_who_claim_and_write_a_branch_at_once_do_not_block_each_other(database: Database) -> None:
    patterns = [(), ["a"], ["b"], ["c"], ["d"]]
    held = [await _ready(database, _selection(include=include)) for include in patterns]
    for commit in (NEWER, NEWEST):
        await _age(database, dict.fromkeys(held, 2 * HOUR))
        claims = await asyncio.gather(*(_claim(database) for _ in range(8)))
        assert [one for one in claims if one] == [Branch(NAME, "main")]
        await asyncio.gather(*(_found(database, commit) for _ in range(8)))
        assert sorted(one for one in await _told(database) if one[1] == commit) == sorted((one, commit) for one in held)


async def test_an_update_is_told_once_for_each_commit_and_not_if_a_model_holds_it(database: Database) -> None:
    whole, part = await _ready(database, _selection()), await _ready(database, _selection(include=["*.json"]))
    other = await _ready(database, _selection(revision="v1"))
    await _found(database, COMMIT)
    assert await _told(database) == []
    for _ in range(2):
        await _found(database, NEWER)
        assert sorted(await _told(database)) == sorted([(whole, NEWER), (part, NEWER)])
    heir = await _ready(database, replace(_selection(revision=NEWEST), follows="main"), commit=NEWEST)
    await _found(database, NEWEST)
    assert sorted(await _told(database)) == sorted([(whole, NEWER), (part, NEWER), (part, NEWEST)])
    async with database.read() as connection:
        found = await updates.heirs(connection, [whole, part, other, heir])
        assert {old: new.id for old, new in found.items()} == {whole: heir}
        assert [updates.is_available(await models.get(connection, one)) for one in (whole, part, other, heir)] == [
            True,
            True,
            False,
            False,
        ]


@POSTGRESQL
def test_workers_look_and_tell_the_receiver_once_and_send_no_token(
    start_depot: StartDepot, hub: Hub, repo: Repo, receiver: Receiver
) -> None:
    hub.account(TOKEN)
    depot = start_depot(
        workers=2, update_check=0.5, webhook_url=receiver.url, webhook_secret=SECRET, webhook_inside="on"
    )
    model_id = fetched(depot, huggingface_token=TOKEN)
    of_commit = fetched(depot, revision=repo.branches["main"])
    hub.forget()
    _until_looked(hub, depot)
    assert depot.model(model_id)["latest"] == repo.branches["main"]
    for _ in range(2):
        moved_to = repo.commit({"config.json": b"[]" + bytes(len(repo.branches["main"]))})
        until(lambda: depot.model(model_id)["latest"] == moved_to, depot.logs)  # noqa: B023  # it is called at once
        _until_looked(hub, depot)
    told = [json.loads(one.body) for one in receiver.received]
    told = [one["data"] for one in told if one["type"] == "model.update_available"]
    assert {one["id"] for one in told} == {model_id}
    assert len({one["latest"] for one in told}) == len(told) == 2
    assert {(request.place, request.authorization) for request in hub.requests} == {("revision", None)}
    assert depot.model(of_commit)["latest"] is None
    assert "Traceback" not in depot.logs()


@SQLITE
def test_a_repository_that_is_not_shown_hides_no_other_and_a_hub_that_was_away_is_asked_again(
    start_depot: StartDepot, hub: Hub, repo: Repo
) -> None:
    hub.account(TOKEN, may_read=[NAME])
    other = hub.add("acme/other", {"config.json": b"{}"})
    repo.private = True
    depot = start_depot(update_check=0.5)
    private, public = fetched(depot, huggingface_token=TOKEN), depot.create("acme/other")
    assert depot.wait(public["id"])["state"] == "success"
    hub.misbehave(Fault("status", on="revision", status=503, repo="acme/other", times=2))
    newer = other.commit({"config.json": b"[]"})
    until(lambda: depot.model(public["reference"]["id"])["latest"] == newer, depot.logs)
    assert depot.model(private)["latest"] is None
    assert "to no caller without a token" in depot.logs()
    assert "Traceback" not in depot.logs()


@SQLITE
def test_no_branch_is_looked_up_where_that_is_off(start_depot: StartDepot, hub: Hub, repo: Repo) -> None:
    depot = start_depot(update_check=0)
    model_id = fetched(depot)
    newer = repo.commit({"config.json": b"[]"})
    hub.forget()
    # Whoever asks is answered, and what is found is kept.
    until(lambda: latest(depot, model_id)["moved"], depot.logs)
    assert depot.model(model_id)["latest"] == newer


def test_an_update_is_fetched_beside_the_model_and_answers_for_its_branch(
    start_depot: StartDepot, hub: Hub, repo: Repo
) -> None:
    depot = start_depot()
    model_id = fetched(depot)
    deployed = depot.client.post("/ai/deployment", json={"name": "chat", "model": {"id": model_id}})
    assert deployed.status_code == 200, deployed.text
    assert "up to date" in _refused(depot, model_id)
    path, newer = depot.model(model_id)["path"], repo.commit({"config.json": b"[]"})
    _until_moved(depot, model_id)
    hub.forget()
    operation = _refresh(depot, model_id)
    assert depot.wait(operation["id"])["state"] == "success", depot.logs()
    assert {request.file for request in hub.requests if request.place == "file"} == {"config.json"}, "what changed"
    new = depot.model(operation["reference"]["id"])
    assert (new["follows"], new["revision"], new["commit"]) == ("main", newer, newer)
    old = depot.model(model_id)
    assert (old["status"], old["path"], old["latest"]) == ("ready", path, newer)
    assert latest(depot, model_id)["held-by"] == new["id"]
    assert _by_name(depot, "main") == (newer, b"[]")
    assert _by_name(depot, old["commit"]) == (old["commit"], b"{}")
    deployed = depot.client.post("/ai/deployment", json={"name": "by name", "model": {"name": new["name"]}}).json()
    assert depot.client.get(f"/ai/deployment/{deployed['reference']['id']}").json()["model"]["id"] == new["id"]
    # What is there already is the answer.
    again = _refresh(depot, model_id)
    assert (again["state"], again["reference"]["id"]) == ("success", new["id"])
    # The update follows the branch further, without the model that it is an update of.
    newest = repo.commit({"config.json": b"{ }"})
    _until_moved(depot, new["id"])
    operation = _refresh(depot, new["id"])
    assert depot.wait(operation["id"])["state"] == "success", depot.logs()
    assert _by_name(depot, "main") == (newest, b"{ }")
    assert _audited(depot).count("refresh-model") == 4
    assert "Traceback" not in depot.logs()


@SQLITE
def test_an_update_stands_for_its_branch_once_what_it_updated_is_gone(start_depot: StartDepot, repo: Repo) -> None:
    depot = start_depot()
    former = fetched(depot)
    name = depot.model(former)["name"]
    folder = depot.storage / "by-name" / name
    ids = [former]
    for number in range(2):
        repo.commit({"config.json": b"[%d]" % number})
        _until_moved(depot, ids[-1])
        operation = _refresh(depot, ids[-1])
        assert depot.wait(operation["id"])["state"] == "success", depot.logs()
        ids.append(operation["reference"]["id"])
        assert folder.resolve().name == former, "whoever loads it there goes on with it"
    for gone, heir in ((ids[1], former), (former, ids[2])):
        depot.wait(depot.client.delete(f"/ai/model/{gone}").json()["id"])
        assert folder.resolve().name == heir
    assert (folder / "config.json").read_bytes() == b"[1]"
    again = depot.client.post("/ai/model", json={"name": name})
    assert (again.status_code, ids[2] in again.json()["error"]) == (409, True), again.text
    planned = depot.client.post("/ai/model/plan", json={"name": name}).json()
    assert (planned["model"]["id"], planned["bytes-to-fetch"]) == (ids[2], 0)
    depot.wait(depot.client.delete(f"/ai/model/{ids[2]}").json()["id"])
    assert not list((depot.storage / "by-name").iterdir())
    assert depot.client.post("/ai/model", json={"name": name}).status_code == 200


@SQLITE
def test_a_model_that_was_fetched_at_that_commit_becomes_the_update(
    start_depot: StartDepot, hub: Hub, repo: Repo
) -> None:
    older, newer = repo.branches["main"], repo.commit({"config.json": b"[]"})
    depot = start_depot()
    of_newer = fetched(depot, revision=newer)
    repo.branches["main"] = older
    model_id = fetched(depot)
    repo.branches["main"] = newer
    assert _by_name(depot, "main") == (older, b"{}")
    hub.forget()
    operation = _refresh(depot, model_id)
    assert (operation["state"], operation["reference"]["id"]) == ("success", of_newer)
    assert [request for request in hub.requests if request.place == "file"] == []
    assert _by_name(depot, "main") == (newer, b"[]")
    assert depot.model(of_newer)["follows"] == "main"


@SQLITE
def test_an_update_that_makes_no_sense_is_refused_and_begins_nothing(
    start_depot: StartDepot, hub: Hub, repo: Repo
) -> None:
    hub.account(TOKEN, may_read=[NAME])
    depot = start_depot()
    of_commit, private = fetched(depot, revision=repo.branches["main"]), fetched(depot)
    assert "a commit, which never moves" in _refused(depot, of_commit)
    failed = depot.create("acme/nothing")
    assert depot.wait(failed["id"])["state"] == "failure"
    assert "Nobody knows yet" in _refused(depot, failed["reference"]["id"])
    repo.private = True
    repo.commit({"config.json": b"[]"})
    assert "to no caller without a token" in _refused(depot, private)
    answer = depot.client.post(f"/ai/model/{private}/refresh", json={"hugging-face-token": TOKEN})
    assert (answer.status_code, "huggingface-token" in answer.json()["error"]) == (400, True)
    number = len(depot.client.get("/ai/model").json()["models"])
    operation = _refresh(depot, private, {"huggingface-token": TOKEN})
    assert depot.wait(operation["id"])["state"] == "success", depot.logs()
    assert len(depot.client.get("/ai/model").json()["models"]) == number + 1
    assert TOKEN not in depot.logs()


@SQLITE
def test_an_update_that_fails_changes_nothing_and_is_tried_again_by_the_same_request(
    start_depot: StartDepot, hub: Hub, repo: Repo
) -> None:
    depot = start_depot()
    model_id, older = fetched(depot), repo.branches["main"]
    newer = repo.commit({"config.json": b"[]"})
    _until_moved(depot, model_id)
    hub.misbehave(Fault("status", on="file", status=404, path="config.json", times=None))
    failed = _refresh(depot, model_id)
    assert depot.wait(failed["id"])["state"] == "failure"
    assert _by_name(depot, "main") == (older, b"{}")
    hub.behave()
    operation = _refresh(depot, model_id)
    assert operation["reference"]["id"] == failed["reference"]["id"]
    assert depot.wait(operation["id"])["state"] == "success", depot.logs()
    assert _by_name(depot, "main") == (newer, b"[]")
    # Without it, the older one answers again, and may be updated again.
    gone = depot.client.delete(f"/ai/model/{operation['reference']['id']}").json()
    assert depot.wait(gone["id"])["state"] == "success"
    assert _by_name(depot, "main") == (older, b"{}")
    assert latest(depot, model_id)["held-by"] is None


def _selection(**given: Any) -> Selection:
    wanted = {"name": NAME, "revision": "main", "include": (), "exclude": (), **given}
    return repositories.select(**wanted)


async def _ready(database: Database, selection: Selection, commit: str = COMMIT) -> UUID:
    """The id of a model that is ready at that commit."""
    operation = await by_hand.create(database, selection.name, selection=selection)
    await by_hand.carry_out(database)
    model_id: UUID = operation.resource_id
    async with database.begin() as connection:
        await connection.execute(update(ModelRow).where(ModelRow.id == model_id).values(commit=commit))
    return model_id


async def _age(database: Database, ages: dict[UUID, float]) -> None:
    """Let the models be ready, and looked up, so many seconds ago."""
    async with database.begin() as connection:
        for model_id, seconds in ages.items():
            values = {"updated_at": moment(-seconds), "looked_at": moment(-seconds)}
            await connection.execute(update(ModelRow).where(ModelRow.id == model_id).values(**values))


async def _claim(database: Database) -> Branch | None:
    async with database.begin() as connection:
        return await updates.claim(connection, every=HOUR)


async def _found(database: Database, commit: str) -> None:
    async with database.begin() as connection:
        await updates.found(connection, Branch(NAME, "main"), commit)


async def _told(database: Database) -> list[tuple[UUID, str]]:
    """The models of which was told that there is an update, each with its commit."""
    query = select(WebhookRow.body).where(WebhookRow.event == "model.update_available")
    async with database.read() as connection:
        told = [json.loads(body)["data"] for body in (await connection.execute(query)).scalars()]
    return [(UUID(one["id"]), one["latest"]) for one in told]


def _until_looked(hub: Hub, depot: Depot) -> None:
    """Wait for two more looks: the second has begun after the first was over."""
    number = len(hub.requests)
    until(lambda: len(hub.requests) >= number + 2, depot.logs)


def _until_moved(depot: Depot, model_id: str) -> None:
    """Wait until what the API remembers of the Hub is no older than the branch's move."""
    until(lambda: latest(depot, model_id)["moved"], depot.logs)


def _refresh(depot: Depot, model_id: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    answer = depot.client.post(f"/ai/model/{model_id}/refresh", json=body or {})
    assert answer.status_code == 200, answer.text
    operation: dict[str, Any] = answer.json()
    contract.check(contract.OPERATION, operation)
    return operation


def _refused(depot: Depot, model_id: str) -> str:
    answer = depot.client.post(f"/ai/model/{model_id}/refresh", json={})
    assert answer.status_code == 409, answer.text
    error: str = answer.json()["error"]
    return error


def _by_name(depot: Depot, revision: str) -> tuple[str, bytes]:
    """(The commit that clients are told, a file as they get it)."""
    answer = httpx2.get(depot.address(f"/{NAME}/resolve/{revision}/config.json"), headers=CREDENTIALS)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-repo-commit"], answer.content


def _audited(depot: Depot) -> list[str]:
    """What was done, as the audit names it, newest first."""
    printed = modeldepot(depot.environment, "audit", "--json").stdout
    return [one["action"] for one in json.loads(printed)["audit"]]
