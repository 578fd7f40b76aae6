"""Every request has an id, in its answer and in the log, and one line of its own; what is measured of it."""

import json
import re
import time
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.by_hand import Api
from tests.processes import until

_MADE = re.compile(r"[0-9a-f]{32}")


def test_a_callers_request_id_comes_back_and_is_in_the_log(api: Api) -> None:
    given = f"caller:{uuid4()}"
    answer = api.ask("GET", f"/ai/model/{uuid4()}?huggingface-token=planted", headers={"X-Request-Id": given})
    assert answer.headers["x-request-id"] == given
    (line,) = _lines(api, given)
    assert (line["event"], line["method"], line["status"], line["level"]) == ("answered", "GET", 404, "info")
    assert re.fullmatch(r"/v2/ai/model/[0-9a-f-]{36}", line["path"])
    assert 0 < line["ms"] < 60_000
    assert "planted" not in api.depot.logs()


@pytest.mark.parametrize("given", ["", "two words", "a" * 129, "-dash", 'quo"te', "<script>", "é"])
def test_what_is_no_sane_request_id_is_replaced(api: Api, given: str) -> None:
    answer = api.ask("GET", "/zone", headers={"X-Request-Id": given.encode()})
    assert _MADE.fullmatch(answer.headers["x-request-id"])


def test_all_lines_of_a_request_have_its_id(api: Api) -> None:
    answer = api.ask("POST", "/ai/model", {"name": api.name()})
    lines = _lines(api, answer.headers["x-request-id"])
    assert [line["event"] for line in lines] == ["audit", "answered"]


def test_a_refused_method_and_a_too_large_body_have_one_too(api: Api) -> None:
    for answer in (api.ask("PUT", "/ai/model"), api.ask("POST", "/ai/model", content=b"x" * 2_000_000)):
        assert _MADE.fullmatch(answer.headers["x-request-id"])
        assert _lines(api, answer.headers["x-request-id"])[-1]["status"] == answer.status_code


def test_a_path_can_forge_no_line(api: Api) -> None:
    answer = api.ask("GET", '/a%0a{"event":"forged"}')
    (line,) = _lines(api, answer.headers["x-request-id"])
    assert "%0a" in line["path"].lower()


def test_the_figures_tell_of_requests_and_operations(api: Api) -> None:
    before = _figures(api)
    api.depot.create(api.name())
    pending = ("modeldepot_operations", ("create-model", "pending"))
    until(lambda: _figures(api)[pending] == before[pending] + 1, api.depot.logs)
    after = _figures(api)
    assert after["modeldepot_operations", ("delete-deployment", "timeout")] == 0
    assert after["modeldepot_operations_due", ()] == before["modeldepot_operations_due", ()] + 1
    assert after["modeldepot_oldest_due_age_seconds", ()] > 0
    assert after["modeldepot_request_seconds_count", ("POST", "200")] >= 1
    assert after["modeldepot_storage_free_bytes", ()] > 0
    assert after["modeldepot_storage_used_bytes", ()] > 0
    assert after["modeldepot_check_ok", ("database",)] == 1
    api.carry_out()
    done = ("modeldepot_operations", ("create-model", "success"))
    until(lambda: _figures(api)[done] == before[done] + 1, api.depot.logs)


def test_a_stream_counts_until_it_begins(api: Api) -> None:
    operation, held = api.depot.create(api.name()), 2.0
    before, key = _figures(api), ("modeldepot_request_seconds_sum", ("GET", "200"))
    with api.depot.client.stream("GET", f"/ai/model/{operation['reference']['id']}/events") as events:
        lines = events.iter_lines()
        assert next(lines) == "event: progress"
        time.sleep(held)
    (line,) = _lines(api, events.headers["x-request-id"])
    assert line["ms"] >= held * 1000
    assert _figures(api)[key] - before.get(key, 0.0) < held
    api.carry_out()


def test_made_up_methods_add_no_figures(api: Api) -> None:
    api.ask("BREW", "/ai/model")
    assert {labels[0] for name, labels in _figures(api) if name == "modeldepot_request_seconds_count"} <= {
        "GET", "HEAD", "POST", "PATCH", "DELETE", "other",
    }  # fmt: skip


def _figures(api: Api) -> dict[tuple[str, tuple[str, ...]], float]:
    answer = api.ask("GET", f"http://127.0.0.1:{api.depot.port}/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def _lines(api: Api, request_id: str) -> list[dict[str, Any]]:
    """The log's lines of a request. Its own comes last, and may come after the answer."""

    def found() -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in api.depot.logs().splitlines() if request_id in line]
        return [line for line in lines if line["request-id"] == request_id]

    until(lambda: found() and found()[-1]["event"] == "answered", api.depot.logs)
    return found()
