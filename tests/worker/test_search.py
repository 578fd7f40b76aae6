"""The Hub's models by name, through the API and a worker."""

from typing import Any

import httpx2
import pytest
from huggingface_hub import HfApi

from app.domain.keys import Role
from tests.api import contract
from tests.api.test_auth import bearer, make_key
from tests.by_hand import Api
from tests.conftest import StartDepot
from tests.depot import Depot
from tests.fakehub.hub import Fault, Hub
from tests.processes import until

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def search(depot: Depot, q: str, **more: Any) -> httpx2.Response:
    return depot.client.get("/ai/hub/search", params={"q": q, **more})


def found(depot: Depot, q: str, **more: Any) -> list[dict[str, Any]]:
    answer = search(depot, q, **more)
    assert answer.status_code == 200, answer.text + depot.logs()
    contract.check(contract.FOUND, answer.json())
    models: list[dict[str, Any]] = answer.json()["models"]
    return models


def ready(start_depot: StartDepot, **settings: object) -> Depot:
    depot = start_depot(**settings)
    until(lambda: "worker is ready" in depot.logs(), depot.logs)
    return depot


def test_models_are_found_by_the_words_in_their_names(start_depot: StartDepot, hub: Hub) -> None:
    card = {"downloads": 5, "likes": 3, "pipeline_tag": "text-generation", "usedStorage": 999}
    weights = {"safetensors": {"parameters": {"BF16": 1000, "F32": 10, "F8_E4M3": 3}, "total": 1013}}
    hub.add("acme/tiny-llama", {"config.json": b"{}"}, gated=True, about={**card, **weights})
    hub.add("zeta/Llama-tiny-GGUF", {"a.gguf": b""}, about={"downloads": 50, "gguf": {"total": 77}})
    hub.add("acme/other", {"config.json": b"{}"})
    hub.add("acme/private-tiny-llama", {"config.json": b"{}"}, private=True)
    depot = ready(start_depot)
    hub.forget()
    models = found(depot, "  LLAMA   tiny ")
    assert [model["name"] for model in models] == ["zeta/Llama-tiny-GGUF", "acme/tiny-llama"]
    assert models[1] == {
        "name": "acme/tiny-llama", "downloads": 5, "likes": 3, "size": 2043, "stored": 999, "parameters": 1013,
        "gated": "auto", "task": "text-generation", "updated-at": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    assert (models[0]["size"], models[0]["parameters"], models[0]["gated"]) == (None, 77, None)
    assert found(depot, "LLAMA tiny") == models
    assert found(depot, "llama", limit=1) == models[:1]
    assert found(depot, "nothing like it") == []
    # Asked for again, the same words cost the Hub nothing.
    assert len(hub.requests) == 3
    assert {request.place for request in hub.requests} == {"search"}
    assert {request.authorization for request in hub.requests} == {None}
    assert "expand%5B%5D=downloads" in hub.requests[0].path


def test_the_hubs_own_client_finds_the_same(start_depot: StartDepot, hub: Hub) -> None:
    for number in range(7):
        hub.add(f"acme/tiny-{number}", {"config.json": b"{}"}, about={"downloads": number})
    client = HfApi(endpoint=hub.endpoint, token=False).list_models(search="tiny", sort="downloads", expand=["likes"])
    names = [model.id for model in client]
    assert names == [f"acme/tiny-{number}" for number in reversed(range(7))]
    assert [model["name"] for model in found(ready(start_depot), "tiny")] == names


def test_nonsense_is_left_out_and_a_hub_that_fails_is_told(start_depot: StartDepot, hub: Hub) -> None:
    hub.add("acme/tiny", {"config.json": b"{}"})
    depot = ready(start_depot)
    odd = b'[1, null, {"id": "no owner"}, {"id": "a/b", "likes": -1, "gated": {}, "lastModified": 5, "safetensors": 1}]'
    hub.misbehave(Fault("rewrite", on="search", rewrite=lambda _: odd))
    assert [(model["name"], model["likes"]) for model in found(depot, "one")] == [("a/b", None)]
    for number, (fault, status, says) in enumerate(
        [
            (Fault("rewrite", on="search", rewrite=lambda _: b'{"models": 1}'), 503, "answered something unexpected"),
            (Fault("rewrite", on="search", rewrite=lambda _: b"<html>"), 503, "answered something unexpected"),
            (Fault("status", on="search", status=429), 503, "limits our rate"),
            (Fault("status", on="search", status=502), 503, "answered 502"),
            (Fault("status", on="search", status=404), 400, "can't be searched"),
        ]
    ):
        hub.misbehave(fault)
        answer = search(depot, f"words {number}")
        assert (answer.status_code, says in answer.json()["error"]) == (status, True), answer.text
        contract.check(contract.ERROR, answer.json())
    assert "Traceback" not in depot.logs()


def test_it_can_be_switched_off_and_says_so(start_depot: StartDepot, hub: Hub) -> None:
    depot = start_depot(hub_search="off", workers=0)
    answer = search(depot, "tiny")
    assert answer.status_code == 403
    assert "DEPOT_HUB_SEARCH" in answer.json()["error"]
    assert depot.client.get("/ai/hub").json() == {"address": hub.endpoint}
    assert hub.requests == []


def test_readers_search_within_their_limit_and_nobody_too_often(
    start_depot: StartDepot, hub: Hub, database_url: str
) -> None:
    hub.add("acme/tiny", {"config.json": b"{}"})
    hub.add("zeta/tiny", {"config.json": b"{}"})
    depot = ready(start_depot)
    credentials = make_key(Api(depot, database_url), Role.READER, models=["acme/*"])
    url, headers = depot.address("/v2/ai/hub/search"), bearer(*credentials)

    def ask(q: str) -> httpx2.Response:
        return httpx2.get(url, params={"q": q}, headers=headers, timeout=30)

    assert [model["name"] for model in ask("tiny").json()["models"]] == ["acme/tiny"]
    answers = [ask("tiny") for _ in range(60)]
    refused = next(answer for answer in answers if answer.status_code != 200)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    contract.check(contract.ERROR, refused.json())
    assert len(found(depot, "tiny")) == 2
    assert [search(depot, q).status_code for q in ("", "x" * 201)] == [400, 400]
    assert search(depot, "x", limit=101).status_code == 400


def test_a_limited_keys_list_is_full_although_others_models_come_first(
    start_depot: StartDepot, hub: Hub, database_url: str
) -> None:
    for number in range(120):
        owner = "bulk" if number % 12 == 0 else "zeta"
        hub.add(f"{owner}/many-{number:03}", {"config.json": b"{}"}, about={"downloads": number})
    depot = ready(start_depot)
    credentials = make_key(Api(depot, database_url), Role.READER, models=["bulk/*"])

    def names(limit: int, words: str = "many") -> list[str]:
        answer = httpx2.get(
            depot.address("/v2/ai/hub/search"),
            params={"q": words, "limit": limit},
            headers=bearer(*credentials),
            timeout=30,
        )
        return [model["name"] for model in answer.json()["models"]]

    mine = [f"bulk/many-{number:03}" for number in range(108, -1, -12)]
    assert names(5) == mine[:5]
    assert names(100) == mine
    hub.forget()
    assert len(found(depot, "many", limit=7)) == 7
    assert len(hub.requests) == 1
    # A Hub that takes long is not asked again for more.
    hub.misbehave(Fault("stall", on="search", after_bytes=None, seconds=1.5))
    hub.forget()
    assert names(100, "any") == [name for name in mine if name > "bulk/many-019"]
    assert len(hub.requests) == 1


def test_a_hub_that_limits_the_rate_says_how_long_to_wait_and_what_helps(start_depot: StartDepot, hub: Hub) -> None:
    hub.add("acme/tiny", {"config.json": b"{}"})
    depot = ready(start_depot)
    for after, wait, header in ((30, "asks to wait 30 seconds.", "30"), (None, "wait some minutes.", "5")):
        hub.behave()
        hub.misbehave(Fault("status", on="any", status=429, times=None, retry_after=after))
        answers = [
            search(depot, f"tiny {after}"),
            depot.client.post("/ai/model/plan", json={"name": "acme/tiny", "revision": f"v{after}"}),
            depot.client.post(
                "/ai/model/plan", json={"name": "acme/tiny", "revision": f"v{after}", "huggingface-token": "hf_some"}
            ),
        ]
        assert [(answer.status_code, answer.headers["retry-after"]) for answer in answers] == [(503, header)] * 3
        told = [answer.json()["error"] for answer in answers]
        assert all(wait in message for message in told), told
        assert ["Hub token raises" in message for message in told] == [False, True, False]


def test_nobody_plans_too_often(start_depot: StartDepot, hub: Hub, database_url: str) -> None:
    hub.add("acme/tiny", {"config.json": b"{}"})
    depot = ready(start_depot)
    url, key = depot.address("/v2/ai/model/plan"), make_key(Api(depot, database_url), Role.OPERATOR)
    with httpx2.Client(headers=bearer(*key), timeout=30) as client:
        answers = (client.post(url, json={"name": "acme/tiny"}) for _ in range(500))
        refused = next(answer for answer in answers if answer.status_code != 200)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    contract.check(contract.ERROR, refused.json())
    assert depot.client.post("/ai/model/plan", json={"name": "acme/tiny"}).status_code == 200


def test_a_key_plans_what_it_may_create_and_nothing_is_audited(
    start_depot: StartDepot, hub: Hub, database_url: str
) -> None:
    hub.add("acme/tiny", {"config.json": b"{}"})
    hub.add("zeta/tiny", {"config.json": b"{}"})
    depot = ready(start_depot)
    api = Api(depot, database_url)
    reader, limited = make_key(api, Role.READER), make_key(api, Role.OPERATOR, models=["acme/*"])

    def plan(key: tuple[str, str], name: str, path: str = "/v2/ai/model/plan") -> int:
        answer = httpx2.post(depot.address(path), json={"name": name}, headers=bearer(*key), timeout=30)
        return answer.status_code

    assert plan(reader, "acme/tiny") == 403
    assert plan(limited, "zeta/tiny") == 403
    assert [plan(limited, "acme/tiny", path) for path in ("/v2/ai/model/plan", "/ai/model/plan")] == [200, 200]
    assert httpx2.post(depot.address("/ai/model/plan"), json={"name": "acme/tiny"}).status_code == 401
    assert "plan-model" not in depot.logs()
    other = depot.client.put("/ai/model/plan", json={"name": "acme/tiny"})
    assert (other.status_code, other.headers["allow"]) == (405, "POST")
