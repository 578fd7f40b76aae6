"""Requests that can't be right: each is told what is wrong with which field, and nothing is stored."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api import contract
from tests.by_hand import Api

JSON = {"Content-Type": "application/json"}
_SURROGATE = "\\ud800"
"""As it stands in JSON: half of a pair, that no text in UTF-8 can hold."""

MODELS: list[tuple[str, bytes, str | None]] = [
    ("no body", b"", None),
    ("not JSON", b"name=acme/model", None),
    ("half a JSON", b'{"name": "acme/model"', None),
    ("a list", b'[{"name": "acme/model"}]', None),
    ("a number", b"1", None),
    ("null", b"null", None),
    ("a text", b'"acme/model"', None),
    ("two objects", b'{"name": "acme/model"} {}', None),
    ("not UTF-8", b'{"name": "acme/\xff\xfe"}', None),
    ("UTF-16", '{"name": "acme/model"}'.encode("utf-16"), None),
    ("a deep nesting", b'{"name": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", None),
    ("a deep nesting without end", b"[" * 500_000, None),
    ("a number of many digits", b'{"name": ' + b"1" * 100_000 + b"}", None),
    ("a name twice", b'{"name": "acme/one", "name": "acme/two"}', "name"),
    ("an unknown constant", b'{"name": NaN}', None),
    ("no name", b"{}", "name"),
    ("an empty name", b'{"name": ""}', "name"),
    ("a blank name", b'{"name": " "}', "name"),
    ("a name that is null", b'{"name": null}', "name"),
    ("a name that is a number", b'{"name": 1}', "name"),
    ("a name that is true", b'{"name": true}', "name"),
    ("a name that is a list", b'{"name": ["acme/model"]}', "name"),
    ("a name that is an object", b'{"name": {"id": "acme/model"}}', "name"),
    ("a name without an owner", b'{"name": "model"}', "name"),
    ("a name without a name", b'{"name": "acme/"}', "name"),
    ("a name of three parts", b'{"name": "acme/model/more"}', "name"),
    ("an owner of 97 characters", b'{"name": "%b/model"}' % (b"a" * 97), "name"),
    ("a name of 97 characters", b'{"name": "acme/%b"}' % (b"a" * 97), "name"),
    ("a way up", b'{"name": "../x"}', "name"),
    ("a way up at the end", b'{"name": "acme/.."}', "name"),
    ("a name with a line break", b'{"name": "acme/model\\n"}', "name"),
    ("a name with a NUL", b'{"name": "acme/mo\\u0000del"}', "name"),
    ("a name with a real NUL", b'{"name": "acme/mo\x00del"}', None),
    ("a name with half a pair", b'{"name": "acme/%b"}' % _SURROGATE.encode(), None),
    ("a name in another script", '{"name": "acme/模型"}'.encode(), "name"),
    ("a URL", b'{"name": "https://huggingface.co/acme/model"}', "name"),
    ("a misspelt key", b'{"name": "acme/model", "huggingface_token": "x"}', "huggingface_token"),
    ("an unknown key", b'{"name": "acme/model", "colour": "red"}', "colour"),
    ("an unknown key with a NUL", b'{"name": "acme/model", "a\\u0000": 1}', None),
    ("an unknown key with half a pair", b'{"name": "acme/model", "%b": 1}' % _SURROGATE.encode(), None),
    ("an empty key", b'{"name": "acme/model", "": 1}', None),
    ("a token that is a number", b'{"name": "acme/model", "huggingface-token": 5}', "huggingface-token"),
    ("a token with a line break", b'{"name": "acme/model", "huggingface-token": "hf_x\\ny"}', "huggingface-token"),
    ("a token with half a pair", b'{"name": "acme/model", "huggingface-token": "%b"}' % _SURROGATE.encode(), None),
    ("a token too long", b'{"name": "acme/model", "huggingface-token": "%b"}' % (b"x" * 1001), "huggingface-token"),
    ("an empty revision", b'{"name": "acme/model", "revision": ""}', "revision"),
    ("a revision that is a number", b'{"name": "acme/model", "revision": 1}', "revision"),
    ("a revision that goes up", b'{"name": "acme/model", "revision": "../main"}', "revision"),
    ("a revision with a NUL", b'{"name": "acme/model", "revision": "a\\u0000"}', "revision"),
    ("a revision with half a pair", b'{"name": "acme/model", "revision": "%b"}' % _SURROGATE.encode(), None),
    ("a revision too long", b'{"name": "acme/model", "revision": "%b"}' % (b"x" * 251), "revision"),
    ("patterns that are a text", b'{"name": "acme/model", "include": "*.gguf"}', "include"),
    ("a pattern that is a number", b'{"name": "acme/model", "include": [1]}', None),
    ("an empty pattern", b'{"name": "acme/model", "include": [""]}', "include"),
    ("a lone star", b'{"name": "acme/model", "include": ["*"]}', "include"),
    ("a lone star to leave out", b'{"name": "acme/model", "exclude": ["*"]}', "exclude"),
    ("a pattern with a NUL", b'{"name": "acme/model", "include": ["a\\u0000"]}', "include"),
    ("a pattern with half a pair", b'{"name": "acme/model", "exclude": ["%b"]}' % _SURROGATE.encode(), None),
    ("a pattern too long", b'{"name": "acme/model", "exclude": ["%b"]}' % (b"x" * 501), "exclude"),
    ("too many patterns", b'{"name": "acme/model", "include": [%b]}' % b",".join([b'"x"'] * 101), "include"),
]

_UUID = "00000000-0000-0000-0000-000000000007"
DEPLOYMENTS: list[tuple[str, Any, str]] = [
    ("no name", {"model": {"id": _UUID}}, "name"),
    ("no model", {"name": "d"}, "model"),
    ("a model that is a text", {"name": "d", "model": _UUID}, "model"),
    ("a model without id and name", {"name": "d", "model": {}}, "model"),
    ("an id that is no UUID", {"name": "d", "model": {"id": "x"}}, "model.id"),
    ("an id that is a number", {"name": "d", "model": {"id": 7}}, "model.id"),
    ("an unknown key of the model", {"name": "d", "model": {"ID": _UUID}}, "ID"),
    ("an empty name", {"name": "", "model": {"id": _UUID}}, "name"),
    ("a name too long", {"name": "d" * 251, "model": {"id": _UUID}}, "name"),
    ("a name with a NUL", {"name": "d\0", "model": {"id": _UUID}}, "name"),
    ("a count that is a text", {"name": "d", "model": {"id": _UUID}, "gpu-count": "1"}, "gpu-count"),
    ("a count of zero", {"name": "d", "model": {"id": _UUID}, "gpu-count": 0}, "gpu-count"),
    ("a count that is true", {"name": "d", "model": {"id": _UUID}, "gpu-count": True}, "gpu-count"),
    ("a count beyond all rows", {"name": "d", "model": {"id": _UUID}, "gpu-count": 2**70}, "gpu-count"),
    ("fewer replicas than one", {"name": "d", "model": {"id": _UUID}, "replicas": 0}, "replicas"),
    (
        "parameters that are a text",
        {"name": "d", "model": {"id": _UUID}, "inference-engine-parameters": "--x"},
        "inference-engine-parameters",
    ),
    ("a misspelt key", {"name": "d", "model": {"id": _UUID}, "gpu_type": "a"}, "gpu_type"),
]


@pytest.mark.parametrize(("body", "field"), [case[1:] for case in MODELS], ids=[case[0] for case in MODELS])
def test_a_model_is_not_created_from(api: Api, body: bytes, field: str | None) -> None:
    _refused(api, "/ai/model", body, field)


@pytest.mark.parametrize(("body", "field"), [case[1:] for case in DEPLOYMENTS], ids=[case[0] for case in DEPLOYMENTS])
def test_a_deployment_is_not_created_from(api: Api, body: Any, field: str) -> None:
    _refused(api, "/ai/deployment", json.dumps(body).encode(), field)


def test_a_misspelt_token_is_told_its_right_name(api: Api) -> None:
    answer = api.ask("POST", "/ai/model", {"name": "acme/model", "huggingface_token": "hf_secret_of_somebody"})
    assert "'huggingface-token'" in answer.json()["error"]
    assert "hf_secret" not in answer.text + api.depot.logs()


@pytest.mark.parametrize("path", ["/ai/model", "/ai/deployment"])
@pytest.mark.parametrize("chunked", [False, True], ids=["whole", "in chunks"])
def test_a_body_of_two_mebibytes_is_too_large(api: Api, path: str, *, chunked: bool) -> None:
    body = b'{"name": "' + b"a" * (2 << 20) + b'"}'
    before = api.stored()
    answer = api.ask("POST", path, content=_chunks(body) if chunked else body, headers=JSON)
    assert answer.status_code == 413
    contract.check(contract.ERROR, answer.json())
    assert api.stored() == before


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
@pytest.mark.parametrize("path", ["/ai/model", "/ai/deployment"])
def test_a_body_of_another_type_is_not_taken(api: Api, path: str, media_type: str) -> None:
    before = api.stored()
    answer = api.ask("POST", path, content=b'{"name": "acme/model"}', headers={"Content-Type": media_type})
    assert answer.status_code == 415
    contract.check(contract.ERROR, answer.json())
    assert "application/json" in answer.json()["error"]
    assert api.stored() == before


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_the_type_of_json_may_be_spelt_as_http_allows(api: Api, media_type: str) -> None:
    body = json.dumps({"name": api.name()}).encode()
    assert api.ask("POST", "/ai/model", content=body, headers={"Content-Type": media_type}).status_code == 200
    api.carry_out()


def _refused(api: Api, path: str, body: bytes, field: str | None) -> None:
    before = api.stored()
    answer = api.ask("POST", path, content=body, headers=JSON)
    assert answer.status_code == 400, answer.text
    problem = answer.json()
    contract.check(contract.ERROR, problem)
    assert problem["status"] == 400
    assert problem["error"] == problem["detail"] == problem["message"]
    if field is not None:
        assert problem["field"] == field
        assert field in problem["error"]
    assert api.stored() == before


def _chunks(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 65_536):
        yield body[start : start + 65_536]
