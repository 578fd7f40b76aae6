"""Who may pull what, and what a pull leaves behind."""

import base64
from functools import partial
from typing import Any

import httpx2
import pytest

from app.domain.keys import hub_token
from tests.conftest import StartDepot
from tests.depot import KEY, SECRET
from tests.fakehub.hub import Hub
from tests.hub_api.conftest import BERT, FILES, GGUF, Kept
from tests.processes import BUSY, free_port, until

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
_CONFIG = f"/{BERT}/resolve/main/config.json"
_FOREIGN = "hf_" + "aBcDeFgHiJkLmNoPqRsTuVwXyZ01234567"


def _basic(key: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{key}:{secret}".encode()).decode()


def _ask(kept: Kept, path: str, authorization: str, **headers: str) -> httpx2.Response:
    given = {"Authorization": authorization} if authorization else {}
    return httpx2.get(kept.depot.address(path), headers=given | headers, timeout=30)


def _metrics(kept: Kept) -> str:
    return httpx2.get(f"http://127.0.0.1:{kept.depot.api_metrics_port}/metrics", timeout=30).text


def _limited(kept: Kept, *patterns: str, **more: Any) -> str:
    """The authorization of a reader's key that opens these models only."""
    body = {"name": "limited", "role": "reader", "models": list(patterns)} | more
    made = kept.depot.client.post("/ai/api-key", json=body).json()
    return f"Bearer {made['value']}"


@pytest.mark.parametrize(
    "authorization", [f"Bearer {KEY}:{SECRET}", f"Bearer {hub_token(KEY, SECRET)}", _basic(KEY, SECRET)]
)
def test_a_key_opens_in_each_spelling(kept: Kept, authorization: str) -> None:
    assert _ask(kept, _CONFIG, authorization).content == FILES[BERT]["config.json"]


@pytest.mark.parametrize(
    "authorization", ["", f"Bearer {_FOREIGN}", f"Bearer {KEY}:wrong-{SECRET}", "Basic !!", "Bearer x"]
)
def test_what_opens_nothing_is_told_in_the_hub_s_shape(kept: Kept, authorization: str) -> None:
    for path in (_CONFIG, f"/api/models/{BERT}", "/api/whoami-v2", f"/v2/{GGUF}/manifests/latest"):
        answer = _ask(kept, path, authorization)
        assert answer.status_code == 401
        assert answer.headers["x-error-message"] == answer.json()["error"]
        assert "www-authenticate" in answer.headers
    assert _FOREIGN not in kept.depot.logs()


def test_a_limited_key_finds_its_own_models_and_no_others_by_any_route(kept: Kept) -> None:
    limited = _limited(kept, BERT)
    assert _ask(kept, _CONFIG, limited).status_code == 200
    assert [model["id"] for model in _ask(kept, "/api/models", limited).json()] == [BERT]
    absent = kept.get("/api/models/acme/nothing").json()["error"].replace("acme/nothing", GGUF)
    digest = kept.get(f"/v2/{GGUF}/manifests/Q4_K_M").json()["layers"][0]["digest"]
    commit = kept.commit(GGUF)
    paths = [
        f"/api/models/{GGUF}",
        f"/api/models/{GGUF}/revision/{commit}",
        f"/api/models/{GGUF}/tree/main",
        f"/api/models/{GGUF}/refs",
        f"/api/models/{GGUF}/commits/main",
        f"/api/models/{GGUF}/auth-check",
        f"/{GGUF}/resolve/main/README.md",
        f"/{GGUF}/raw/{commit}/README.md",
        f"/v2/{GGUF}/manifests/Q4_K_M",
        f"/v2/{GGUF}/blobs/{digest}",
        # What one repository has is no way into another one.
        f"/v2/{BERT}/blobs/{digest}",
    ]
    for path in paths:
        for headers in ({}, {"Range": "bytes=0-0"}):
            answer = _ask(kept, path, limited, **headers)
            assert answer.status_code == 404, path
            if GGUF in path:
                assert answer.json()["error"].startswith(absent)


def test_a_link_to_one_model_s_file_opens_no_other_one_s(kept: Kept) -> None:
    layer = kept.get(f"/v2/{GGUF}/manifests/Q4_K_M").json()["layers"][0]["digest"]
    link = kept.get(f"/v2/{GGUF}/blobs/{layer}").headers["location"]
    assert _ask(kept, link, "").status_code == 200
    for path in (link.replace(GGUF, BERT), link.replace(layer, f"sha256:{'0' * 64}")):
        assert _ask(kept, path, "").status_code == 401


@SQLITE
def test_anybody_may_pull_where_that_is_set_and_nothing_else(start_depot: StartDepot, hub: Hub) -> None:
    hub.add(BERT, FILES[BERT])
    kept = Kept(start_depot(anonymous_pull="on"), hub)
    kept.pull(BERT)
    for authorization in ("", f"Bearer {_FOREIGN}"):
        assert _ask(kept, _CONFIG, authorization).status_code == 200
        assert _ask(kept, "/api/whoami-v2", authorization).status_code == 401
        for path in ("/ai/model", "/ai/deployment", "/ai/api-key"):
            assert _ask(kept, path, authorization).status_code in {401, 403}
    assert kept.get("/api/whoami-v2").status_code == 200


def test_a_pull_declares_the_deployment_that_keeps_its_model(fresh: Kept) -> None:
    model_id = fresh.pull(BERT)
    for _ in range(2):
        assert fresh.get(_CONFIG, X_Depot_Deployment="vllm-7").status_code == 200
    (deployment,) = fresh.depot.client.get("/ai/deployment").json()["deployments"]
    assert (deployment["name"], deployment["model"]["id"]) == ("vllm-7", model_id)
    assert deployment["last-seen-at"]
    assert fresh.depot.client.delete(f"/ai/model/{model_id}").status_code == 412


@SQLITE
def test_what_was_pulled_is_known(start_depot: StartDepot, hub: Hub) -> None:
    hub.add(BERT, FILES[BERT])
    kept = Kept(start_depot(metrics_port=free_port()), hub)
    model_id = kept.pull(BERT)
    before = kept.depot.model(model_id)
    assert (before["pulls"], before["bytes-sent"], before["last-pulled-at"]) == (0, 0, None)
    for path in ("config.json", "vocab.txt"):
        assert kept.get(f"/{BERT}/resolve/main/{path}", User_Agent="vllm/1.0").status_code == 200
    assert kept.ask("HEAD", _CONFIG).status_code == 200
    metrics = partial(_metrics, kept)
    assert 'modeldepot_hub_requests_total{route="resolve",status="200"} 3.0' in metrics()
    until(lambda: "modeldepot_hub_active_sends 0.0" in metrics(), kept.depot.logs)
    assert kept.depot.api is not None
    kept.depot.api.terminate()
    kept.depot.api.wait(BUSY)
    kept.depot.start_api()
    after = kept.depot.model(model_id)
    sent = len(FILES[BERT]["config.json"]) + len(FILES[BERT]["vocab.txt"])  # type: ignore[arg-type]
    assert (after["pulls"], after["bytes-sent"]) == (1, sent)
    assert after["last-pulled-at"]
    assert after["last-pulled-with"] == "vllm/1.0"
    assert after["updated-at"] == before["updated-at"]
