"""Whether a model's revision has moved on the Hub: asked of the API, told by a worker."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from redis import Redis as Client

from app.depot.lookups import QUEUE, Lookups
from app.domain.errors import NoAnswer
from app.wakeup import connect
from tests.api import contract
from tests.conftest import StartDepot
from tests.depot import Depot
from tests.fakehub.hub import Fault, Hub, Repo, Synthetic
from tests.faults.watching import children, writers
from tests.processes import free_port, until

NAME = "acme/model"
TOKEN = "hf_planted"
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def repo(hub: Hub) -> Repo:
    return hub.add(NAME, {"config.json": b"{}"})


def fetched(depot: Depot, **keys: Any) -> str:
    """The id of a model that is ready."""
    operation = depot.create(NAME, **keys)
    assert depot.wait(operation["id"])["state"] == "success", depot.logs()
    model_id: str = operation["reference"]["id"]
    return model_id


def latest(depot: Depot, model_id: str) -> dict[str, Any]:
    answer = depot.client.get(f"/ai/model/{model_id}/latest")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    contract.check(contract.LATEST, told)
    return told


def refused(depot: Depot, model_id: str, status: int) -> str:
    answer = depot.client.get(f"/ai/model/{model_id}/latest")
    assert answer.status_code == status, answer.text
    contract.check(contract.ERROR, answer.json())
    assert ("retry-after" in answer.headers) == (status == 503)
    error: str = answer.json()["error"]
    return error


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_branch_that_moves_is_told_and_no_token_is_sent(start_depot: StartDepot, hub: Hub, repo: Repo) -> None:
    hub.account(TOKEN)
    depot = start_depot()
    model_id, before = fetched(depot, huggingface_token=TOKEN), repo.branches["main"]
    hub.forget()
    assert latest(depot, model_id) == {
        "revision": "main",
        "commit": before,
        "latest": before,
        "moved": False,
        "held-by": None,
    }
    after = repo.commit({"config.json": b"[]"})
    until(lambda: latest(depot, model_id)["moved"], depot.logs)
    assert latest(depot, model_id) == {
        "revision": "main",
        "commit": before,
        "latest": after,
        "moved": True,
        "held-by": None,
    }
    assert {request.place for request in hub.requests} == {"revision"}
    assert {request.authorization for request in hub.requests} == {None}
    assert depot.model(model_id)["commit"] == before


@SQLITE
@pytest.mark.usefixtures("repo")
def test_it_needs_no_slot_and_many_who_ask_ask_once(start_depot: StartDepot, hub: Hub) -> None:
    depot = start_depot(slots=1, small_slots=0)
    model_id = fetched(depot)
    hub.add("acme/large", {"model.safetensors": Synthetic(8 << 20)})
    hub.rate = 1 << 16
    large = depot.create("acme/large")["reference"]["id"]
    until(lambda: large in writers(depot.storage), depot.logs)
    hub.forget()
    with ThreadPoolExecutor(10) as pool:
        told = list(pool.map(lambda _: latest(depot, model_id), range(10)))
    assert told == [told[0]] * 10
    assert len([request for request in hub.requests if request.repo == NAME]) == 1
    assert depot.model(large)["status"] == "downloading"


@SQLITE
def test_a_commit_stays_where_it_is_and_nobody_is_asked(start_depot: StartDepot, hub: Hub, repo: Repo) -> None:
    depot = start_depot()
    commit = repo.branches["main"]
    model_id = fetched(depot, revision=commit)
    hub.forget()
    assert latest(depot, model_id) == {
        "revision": commit,
        "commit": commit,
        "latest": commit,
        "moved": False,
        "held-by": None,
    }
    assert hub.requests == []


@SQLITE
def test_what_the_hub_does_not_tell_without_a_token_is_a_conflict(
    start_depot: StartDepot, hub: Hub, repo: Repo
) -> None:
    hub.account(TOKEN, may_read=[NAME])
    depot = start_depot()
    repo.commit({"config.json": b"[]"}, branch="side")
    model_id = fetched(depot, huggingface_token=TOKEN)
    of_side = fetched(depot, huggingface_token=TOKEN, revision="side")
    del repo.branches["side"]
    assert "has no revision 'side'" in refused(depot, of_side, 409)
    repo.private = True
    assert "to no caller without a token" in refused(depot, model_id, 409)
    unknown = depot.create("acme/nothing")
    assert depot.wait(unknown["id"])["reason"] == "not-found"
    assert "Nobody knows yet" in refused(depot, unknown["reference"]["id"], 409)
    assert "There is no model" in refused(depot, str(uuid4()), 404)


@SQLITE
def test_a_hub_that_does_not_answer_is_told_in_time_and_leaves_nothing_behind(
    start_depot: StartDepot, hub: Hub, repo: Repo
) -> None:
    depot = start_depot()
    repo.tag("v1", repo.branches["main"])
    of_main, of_tag = fetched(depot), fetched(depot, revision="v1")
    idle = len(children(depot.workers[0].pid))
    hub.misbehave(Fault("status", on="revision", status=503))
    assert "answered 503" in refused(depot, of_main, 503)
    hub.misbehave(Fault("stall", on="revision", after_bytes=None))
    assert "did not answer within 5 seconds" in refused(depot, of_tag, 503)
    until(lambda: len(children(depot.workers[0].pid)) == idle, depot.logs)
    assert not latest(depot, of_main)["moved"]
    assert "Traceback" not in depot.logs()


async def test_a_question_that_no_worker_takes_is_taken_back(redis_url: str) -> None:
    lookups = Lookups(connect(redis_url), patience=0.3)
    with pytest.raises(NoAnswer, match="No worker answered"):
        await lookups.latest(uuid4())
    with Client.from_url(redis_url) as client:
        assert client.zcard(QUEUE) == 0
    await lookups.close()


async def test_a_redis_that_is_away_is_named() -> None:
    lookups = Lookups(connect(f"redis://127.0.0.1:{free_port()}"))
    with pytest.raises(NoAnswer, match="Redis can't be reached"):
        await lookups.latest(uuid4())
    await lookups.close()


async def test_only_so_many_questions_wait_at_a_time(redis_url: str) -> None:
    lookups = Lookups(connect(redis_url), patience=3)
    asked = [asyncio.create_task(lookups.latest(uuid4())) for _ in range(50)]
    await asyncio.sleep(0)
    with pytest.raises(NoAnswer, match="50 models"):
        await lookups.latest(uuid4())
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    await lookups.close()
