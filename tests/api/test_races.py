"""Requests at the same moment: the database lets exactly one of them win."""

import asyncio
from collections import Counter
from typing import Any

import httpx2

from app.db.session import Database
from tests import by_hand
from tests.api import contract
from tests.by_hand import Api

_CREATES = 50
_ROUNDS = 200


def test_of_fifty_creates_at_once_one_is_accepted_and_the_others_name_its_model(api: Api) -> None:
    name = api.name()

    async def ask(client: httpx2.AsyncClient) -> list[httpx2.Response]:
        return list(await asyncio.gather(*[client.post("/ai/model", json={"name": name}) for _ in range(_CREATES)]))

    answers = _at_once(api, ask)
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: _CREATES - 1}
    (accepted,) = [answer.json() for answer in answers if answer.status_code == 200]
    for answer in answers:
        if answer.status_code == 409:
            contract.check(contract.ERROR, answer.json())
            assert accepted["reference"]["id"] in answer.json()["error"]
    assert len([model for model in api.stored()[0]["models"] if model["name"] == name]) == 1
    api.carry_out()


def test_fifty_retries_at_once_of_a_model_in_error_begin_one_operation(api: Api) -> None:
    name = api.name()
    model_id = api.depot.create(name)["reference"]["id"]
    api.fail()

    async def ask(client: httpx2.AsyncClient) -> list[httpx2.Response]:
        return list(await asyncio.gather(*[client.post("/ai/model", json={"name": name}) for _ in range(_CREATES)]))

    answers = _at_once(api, ask)
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: _CREATES - 1}
    assert [answer.json()["reference"]["id"] for answer in answers if answer.status_code == 200] == [model_id]
    api.carry_out()


def test_twenty_deletes_at_once_are_one_operation(api: Api) -> None:
    model_id = api.ready_model()

    async def ask(client: httpx2.AsyncClient) -> list[httpx2.Response]:
        return list(await asyncio.gather(*[client.delete(f"/ai/model/{model_id}") for _ in range(20)]))

    answers = _at_once(api, ask)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["id"] for answer in answers}) == 1
    api.carry_out()


def test_of_twenty_deployments_of_one_name_at_once_one_is_made_and_the_others_are_told_which(api: Api) -> None:
    models = [api.ready_model() for _ in range(2)]
    bodies = [{"name": "one-of-twenty", "model": {"id": models[number % 2]}} for number in range(20)]

    async def ask(client: httpx2.AsyncClient) -> list[httpx2.Response]:
        return list(await asyncio.gather(*[client.post("/ai/deployment", json=body) for body in bodies]))

    answers = _at_once(api, ask)
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 19}
    (made,) = [answer.json()["reference"]["id"] for answer in answers if answer.status_code == 200]
    for answer in answers:
        if answer.status_code == 409:
            contract.check(contract.ERROR, answer.json())
            assert answer.json()["field"] == "name"
            assert made in answer.json()["error"]
    assert [one["id"] for one in api.stored()[1]["deployments"] if one["name"] == "one-of-twenty"] == [made]


def test_of_ten_renames_to_one_name_at_once_one_is_made(api: Api) -> None:
    model_id = api.ready_model()
    made = [
        api.ask("POST", "/ai/deployment", {"name": f"before-{number}", "model": {"id": model_id}}).json()["reference"][
            "id"
        ]
        for number in range(10)
    ]

    async def ask(client: httpx2.AsyncClient) -> list[httpx2.Response]:
        renames = [client.patch(f"/ai/deployment/{one}", json={"name": "after"}) for one in made]
        return list(await asyncio.gather(*renames))

    assert Counter(answer.status_code for answer in _at_once(api, ask)) == {200: 1, 409: 9}
    assert [one["name"] for one in api.stored()[1]["deployments"]].count("after") == 1


def test_a_model_is_never_both_deleted_and_deployed(api: Api) -> None:
    """200 rounds. Who goes first takes turns, so that both get to win."""

    async def make(database: Database) -> list[str]:
        return [str(await by_hand.ready_model(database, api.name())) for _ in range(_ROUNDS)]

    ready: list[str] = by_hand.run(api.database_url, make)

    async def ask(client: httpx2.AsyncClient) -> list[tuple[httpx2.Response, httpx2.Response]]:
        rounds = []
        for number, model_id in enumerate(ready):
            deletion = client.delete(f"/ai/model/{model_id}")
            deployment = client.post("/ai/deployment", json={"name": f"racing-{number}", "model": {"id": model_id}})
            if number % 2:
                deployed, deleted = await asyncio.gather(deployment, deletion)
            else:
                deleted, deployed = await asyncio.gather(deletion, deployment)
            rounds.append((deleted, deployed))
        return rounds

    rounds = _at_once(api, ask)
    won: Counter[str] = Counter()
    for deleted, deployed in rounds:
        assert {deleted.status_code, deployed.status_code} == {200, 412}
        if deleted.status_code == 412:
            contract.check(contract.IN_USE, deleted.json())
            assert deleted.json()["deployments"] == [deployed.json()["reference"]["id"]]
        won["delete" if deleted.status_code == 200 else "deployment"] += 1
    print(f"won by: {dict(won)}")
    deployed_models = {deployment["model"]["id"] for deployment in api.stored()[1]["deployments"]}
    assert deployed_models & set(ready) == {
        model_id for model_id, (deleted, _) in zip(ready, rounds, strict=True) if deleted.status_code == 412
    }


def _at_once(api: Api, ask: Any) -> Any:
    """What `ask` returns, given a client of at most 50 connections."""

    async def run() -> Any:
        limits = httpx2.Limits(max_connections=_CREATES)
        async with httpx2.AsyncClient(
            base_url=api.depot.client.base_url,
            auth=api.depot.client.auth,
            headers=api.depot.client.headers,
            limits=limits,
            timeout=60,
            trust_env=False,
        ) as client:
            return await ask(client)

    return asyncio.run(run())
