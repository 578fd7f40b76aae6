"""The list of models in pages: all of them, once each, in the order of the whole list."""

import re
from typing import Any

import pytest

from tests.by_hand import Api


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_pages_make_up_the_whole_list(api: Api, limit: int) -> None:
    for _ in range(4):
        api.depot.create(api.name())
    paged: list[Any] = []
    page = _list(api, limit=limit)
    while page:
        assert len(page) <= limit
        paged += page
        page = _list(api, limit=limit, after=page[-1]["id"])
    assert paged == _list(api)


def test_a_page_without_a_limit_is_all_that_follows(api: Api) -> None:
    for _ in range(3):
        api.depot.create(api.name())
    everything = _list(api)
    assert _list(api, after=everything[0]["id"]) == everything[1:]
    assert _list(api, after=everything[-1]["id"]) == []


def test_parameters_that_nobody_knows_change_nothing(api: Api) -> None:
    api.depot.create(api.name())
    assert _list(api, visibility="private", Limit="1") == _list(api)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "-1"),
        ("limit", "10001"),
        ("limit", "many"),
        ("limit", ""),
        ("limit", "9" * 400),
        ("after", "yesterday"),
        ("after", ""),
        ("after", "00000000-0000-4000-8000-000000000000"),
    ],
)
def test_a_wrong_value_is_refused_by_name(api: Api, name: str, value: str) -> None:
    answer = api.ask("GET", "/ai/model", params={name: value})
    assert answer.status_code == 400, answer.text
    assert re.match(f"'{name}'", answer.json()["error"])
    assert answer.json()["field"] == name


def _list(api: Api, **params: Any) -> list[dict[str, Any]]:
    answer = api.ask("GET", "/ai/model", params=params)
    assert answer.status_code == 200, answer.text
    listed: list[dict[str, Any]] = answer.json()["models"]
    return listed
