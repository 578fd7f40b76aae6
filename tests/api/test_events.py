"""Progress as server-sent events: the model at each change, and its operation last."""

import json
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import takewhile
from typing import Any

import httpx2
import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.access_tables import KeyRow
from app.db.clock import now
from app.db.session import Database
from app.services import keys
from tests import by_hand
from tests.api import contract
from tests.api.test_auth import SECONDS_TO_REVOKE, bearer, make_key
from tests.by_hand import Api
from tests.processes import BUSY

_ShutOut = Callable[[AsyncConnection, str], Awaitable[object]]


async def _expire(connection: AsyncConnection, key_id: str) -> None:
    await connection.execute(update(KeyRow).where(KeyRow.id == key_id).values(expires_at=now()))


def test_a_watcher_sees_the_model_change_and_then_its_operation_end(api: Api) -> None:
    operation = api.depot.create(api.name())
    with _watch(api, operation["reference"]["id"]) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = _events(answer)
        name, model = next(events)
        assert (name, model["status"]) == ("progress", "creating")
        api.carry_out()
        rest = list(events)
    for name, told in [("progress", model), *rest[:-1]]:
        assert name == "progress"
        contract.check(contract.MODEL, told)
    assert rest[-2][1]["status"] == "ready"
    name, ended = rest[-1]
    contract.check(contract.OPERATION, ended)
    assert (name, ended) == ("end", api.depot.wait(operation["id"]))


def test_many_watchers_all_see_the_end(api: Api) -> None:
    operation = api.depot.create(api.name())
    answers = [_watch(api, operation["reference"]["id"]) for _ in range(20)]
    streams = [_events(answer.__enter__()) for answer in answers]
    for stream in streams:
        assert next(stream)[1]["status"] == "creating"
    api.fail()
    for stream in streams:
        assert list(stream)[-1][1]["state"] == "failure"
    for answer in answers:
        answer.__exit__(None, None, None)


def test_a_model_with_nothing_under_way_is_shown_once(api: Api) -> None:
    model_id = api.ready_model()
    with _watch(api, model_id) as answer:
        events = list(_events(answer))
    assert [name for name, _ in events] == ["progress", "end"]
    assert events[0][1] == api.depot.model(model_id)
    assert events[1][1]["state"] == "success"


def test_a_watcher_sees_a_delete_to_its_end(api: Api) -> None:
    model_id = api.ready_model()
    deletion = api.ask("DELETE", f"/ai/model/{model_id}").json()
    with _watch(api, model_id) as answer:
        events = _events(answer)
        assert next(events)[0] == "progress"
        api.carry_out()
        name, ended = list(events)[-1]
    assert (name, ended["id"], ended["state"]) == ("end", deletion["id"], "success")


@pytest.mark.parametrize("shut_out", [keys.revoke, _expire])
def test_a_stream_ends_soon_after_its_key_is_revoked_or_has_expired(api: Api, shut_out: _ShutOut) -> None:
    operation = api.depot.create(api.name())
    key, secret = make_key(api)

    async def do(database: Database) -> None:
        async with database.begin() as connection:
            await shut_out(connection, key)

    with _watch(api, operation["reference"]["id"], headers=bearer(key, secret)) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "event: progress"
        by_hand.run(api.database_url, do)
        # A second more, as the machine may be busy; a stream that goes on sends a comment within 15 seconds.
        by = time.monotonic() + SECONDS_TO_REVOKE + BUSY
        rest = list(takewhile(lambda _: time.monotonic() < by, lines))
        assert time.monotonic() < by
    assert not any(line.startswith("event:") for line in rest)
    api.carry_out()


def test_who_stops_watching_does_not_hold_up_a_stop(api: Api) -> None:
    """The API ends with the module's last test; it must not wait for a watcher that nothing will ever tell."""
    operation = api.depot.create(api.name())
    with _watch(api, operation["reference"]["id"]) as answer:
        next(_events(answer))
        assert api.depot.api is not None
        began = time.monotonic()
        api.depot.api.terminate()
        assert api.depot.api.wait(10 + BUSY) == 0
        seconds = time.monotonic() - began
    print(f"a stop with a watcher: {seconds:.1f} s")
    api.depot.start_api()
    api.carry_out()


def _watch(api: Api, model_id: str, **given: Any) -> Any:
    return api.depot.client.stream("GET", f"/ai/model/{model_id}/events", **given)


def _events(answer: httpx2.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    name = ""
    for line in answer.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))
