"""What is polled is answered on a short way, and says what the framework's route says, which answers other spellings."""

from pathlib import Path
from uuid import uuid4

import pytest
from starlette.routing import Match

from app.api.polling import Shortcut
from tests.api.test_auth import application
from tests.by_hand import Api

KINDS = ("model", "operation")


@pytest.fixture
def paths(api: Api) -> dict[str, str]:
    operation = api.depot.create(api.name())
    api.carry_out()
    return {
        "model": f"/ai/model/{operation['reference']['id']}",
        "operation": f"/operation/{operation['id']}",
    }


@pytest.mark.parametrize("prefix", ["", "/v2"])
@pytest.mark.parametrize("kind", KINDS)
def test_both_ways_give_the_same_answer(api: Api, paths: dict[str, str], kind: str, prefix: str) -> None:
    base = f"http://127.0.0.1:{api.depot.port}{prefix}"
    head, _, last = paths[kind].rpartition("/")
    short, long = (api.ask("GET", f"{base}{head}/{spelling}") for spelling in (last, last.upper()))
    assert short.status_code == 200
    assert short.content == long.content
    changing = {"x-request-id", "date"}
    assert [item for item in short.headers.multi_items() if item[0] not in changing] == [
        item for item in long.headers.multi_items() if item[0] not in changing
    ]


@pytest.mark.parametrize("headers", [{"Authorization": ""}, {"Authorization": f"Bearer EXO{'0' * 24}:wrong"}])
@pytest.mark.parametrize("kind", KINDS)
def test_both_ways_want_a_key(api: Api, paths: dict[str, str], kind: str, headers: dict[str, str]) -> None:
    head, _, last = paths[kind].rpartition("/")
    short, long = (api.ask("GET", f"{head}/{one}", headers=headers) for one in (last, last.upper()))
    assert short.status_code in (401, 403)
    assert (short.status_code, short.content) == (long.status_code, long.content)


@pytest.mark.parametrize("head", ["/ai/model", "/operation"])
def test_both_ways_say_that_there_is_nothing(api: Api, head: str) -> None:
    nothing = "ab" + str(uuid4())[2:]
    short, long = (api.ask("GET", f"{head}/{one}") for one in (nothing, nothing.upper()))
    assert (short.status_code, short.json()["status"]) == (404, 404)
    assert short.content == long.content


@pytest.mark.parametrize(("kind", "allowed"), [("model", {"GET", "PATCH", "DELETE"}), ("operation", {"GET"})])
def test_other_methods_are_told_which_there_are(api: Api, paths: dict[str, str], kind: str, allowed: set[str]) -> None:
    answer = api.ask("PUT", paths[kind])
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize("end", ["/", "x", "%20", "?limit=1"])
def test_a_path_that_only_begins_alike_is_another(api: Api, paths: dict[str, str], end: str) -> None:
    assert api.ask("GET", paths["model"] + end).status_code == (200 if end.startswith("?") else 404)


@pytest.mark.parametrize("path", ["/ai/model", "/v2/ai/model", "/operation", "/v2/operation"])
def test_the_short_way_is_tried_before_the_frameworks(tmp_path: Path, path: str) -> None:
    app = application(tmp_path)
    asked = f"{path}/{uuid4()}"
    scope = {"type": "http", "method": "GET", "path": asked, "raw_path": asked.encode()}
    matching = [route for route in app.router.routes if route.matches(scope)[0] is Match.FULL]
    assert [isinstance(route, Shortcut) for route in matching[:2]] == [True, False]
