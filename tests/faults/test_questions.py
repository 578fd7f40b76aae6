"""Plans and searches with a Hub that is away, slow, busy or wrong: told in time, while nothing else waits for them."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.api import contract
from tests.conftest import StartDepot
from tests.depot import Depot
from tests.fakehub.hub import Fault, Hub
from tests.faults.watching import children
from tests.processes import free_port, until

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
BOUND = 10.0
"""Seconds within which a question is answered, whatever the Hub does."""
SLACK = 10.0
"""Seconds for a machine that is busy with something else."""
Ask = Callable[[Depot, int], httpx2.Response]
"""Asks a question; one with another number is another question, for which no answer is reused."""


def plan(depot: Depot, number: int = 1) -> httpx2.Response:
    return depot.client.post("/ai/model/plan", json={"name": "acme/model", "exclude": [f"*.{number}"]})


def search(depot: Depot, number: int = 1) -> httpx2.Response:
    return depot.client.get("/ai/hub/search", params={"q": "model", "limit": number})


def refused(depot: Depot, ask: Ask, number: int = 1, status: int = 503) -> str:
    began = time.monotonic()
    answer = ask(depot, number)
    assert time.monotonic() - began < BOUND + SLACK
    assert answer.status_code == status, answer.text + depot.logs()
    assert ("retry-after" in answer.headers) == (status == 503)
    contract.check(contract.ERROR, answer.json())
    error: str = answer.json()["error"]
    return error


def ready(start_depot: StartDepot, **settings: object) -> Depot:
    depot = start_depot(**settings)
    until(lambda: "worker is ready" in depot.logs(), depot.logs)
    return depot


@pytest.mark.parametrize(
    ("ask", "on"), [(plan, "revision"), (plan, "tree"), (plan, "auth"), (search, "search")], ids=lambda one: getattr(one, "__name__", one)
)  # fmt: skip
def test_a_hub_that_stalls_fails_or_limits_its_rate_is_told_as_it_is(
    start_depot: StartDepot, hub: Hub, ask: Ask, on: Any
) -> None:
    hub.add("acme/model", {"config.json": b"{}", "model.safetensors": b"x" * 100})
    depot = ready(start_depot)
    idle = len(children(depot.workers[0].pid))
    faults = [
        (Fault("status", on=on, status=429, times=None, retry_after=60), "limits our rate"),
        (Fault("status", on=on, status=503, times=None), "answered 503"),
        (Fault("reset", on=on, after_bytes=None, times=None), "can't be reached"),
        (Fault("stall", on=on, after_bytes=None, times=None), "did not answer within 8 seconds"),
    ]
    if on != "auth":  # whose body says nothing
        faults.append((Fault("rewrite", on=on, rewrite=lambda _: b"<html>", times=None), "something unexpected"))
    for number, (fault, told) in enumerate(faults, 1):
        hub.misbehave(fault)
        assert told in refused(depot, ask, number)
        hub.behave()
    assert ask(depot, 99).status_code == 200
    until(lambda: len(children(depot.workers[0].pid)) == idle, depot.logs)
    assert "Traceback" not in depot.logs()


def test_a_listing_that_contradicts_itself_is_no_plan(start_depot: StartDepot, hub: Hub) -> None:
    hub.add("acme/model", {"config.json": b"{}", "model.safetensors": b"x" * 100})
    depot = ready(start_depot)
    hub.misbehave(Fault("rewrite", on="tree", rewrite=lambda _: b"[]", times=None))
    assert "leaves 2 of them out of another" in refused(depot, plan)


def test_heads_that_stall_delay_a_plan_and_are_left_out_of_it(start_depot: StartDepot, hub: Hub) -> None:
    hub.add("acme/model", {"config.json": b'{"model_type": "llama"}', "model.safetensors": b"x" * 100})
    depot = ready(start_depot)
    hub.misbehave(Fault("stall", on="file", after_bytes=None, times=None))
    answer = plan(depot)
    assert (answer.status_code, answer.json()["architecture"]) == (200, None), answer.text
    assert answer.json()["bytes-total"] == 123


@pytest.mark.parametrize("ask", [plan, search])
def test_a_hub_that_is_away_is_told(start_depot: StartDepot, ask: Ask) -> None:
    depot = ready(start_depot, hub_endpoint=f"http://127.0.0.1:{free_port()}")
    assert "can't be reached" in refused(depot, ask)


def test_without_a_worker_or_redis_that_is_told(start_depot: StartDepot) -> None:
    depot = start_depot(workers=0)
    assert "No worker answered in time" in refused(depot, plan)
    other = start_depot(workers=0, redis_url=f"redis://127.0.0.1:{free_port()}")
    for ask in (plan, search):
        assert "Redis can't be reached" in refused(other, ask)


def test_other_answers_are_not_held_up_meanwhile(start_depot: StartDepot, hub: Hub) -> None:
    hub.add("acme/ready", {"config.json": b"{}"})
    names = [f"acme/slow-{number}" for number in range(12)]
    for name in names:
        hub.add(name, {"config.json": b"{}"})
    depot = ready(start_depot)
    operation = depot.create("acme/ready")
    depot.wait(operation["id"])
    model_id = operation["reference"]["id"]
    hub.misbehave(*(Fault("stall", on="revision", repo=name, after_bytes=None, times=None) for name in names))

    def slow(name: str) -> int:
        answer = httpx2.post(
            depot.address("/v2/ai/model/plan"), json={"name": name}, headers=depot.client.headers, timeout=60
        )
        return answer.status_code

    with ThreadPoolExecutor(len(names)) as pool:
        asked = [pool.submit(slow, name) for name in names]
        assert hub.wait(lambda: any(request.repo in names for request in hub.requests))
        times = []
        while not any(one.done() for one in asked):
            began = time.monotonic()
            assert depot.client.get(f"/ai/model/{model_id}").status_code == 200
            times.append(time.monotonic() - began)
        assert {one.result() for one in asked} == {503}
    # Each took a small part of what a plan took, of which hundreds of them fitted into one.
    assert len(times) > 20
    assert sorted(times)[len(times) // 2] < 1
