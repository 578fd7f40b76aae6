"""Which path leads where, what comes of others, and who is let in."""

from typing import Any

import httpx2
import pytest

from tests.conftest import StartDepot
from tests.depot import KEY
from tests.fakehub.hub import Hub
from tests.hub_api.conftest import BERT, FILES, Kept

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
_ROUTES = [
    ("GET", f"/api/models/{BERT}"),
    ("GET", f"/api/models/{BERT}/revision/main"),
    ("GET", f"/api/models/{BERT}/tree/main/onnx"),
    ("POST", f"/api/models/{BERT}/paths-info/main"),
    ("GET", f"/api/models/{BERT}/auth-check"),
    ("GET", f"/api/models/{BERT}/refs"),
    ("GET", f"/api/models/{BERT}/commits/main"),
    ("GET", "/api/models"),
    ("GET", "/api/whoami-v2"),
    ("GET", f"/{BERT}/resolve/main/config.json"),
    ("HEAD", f"/{BERT}/resolve/main/config.json"),
    ("GET", f"/{BERT}/raw/main/config.json"),
    ("GET", "/v2/acme/tiny-GGUF/manifests/latest"),
    ("GET", "/v2/acme/tiny-GGUF/blobs/sha256:" + "0" * 64),
]


@pytest.mark.parametrize(("method", "path"), _ROUTES)
def test_no_route_answers_without_a_key(kept: Kept, method: str, path: str) -> None:
    for header in (
        {},
        {"Authorization": f"Bearer {KEY}:a-wrong-secret-of-nobody"},
        {"Authorization": "Bearer nonsense"},
    ):
        answer = httpx2.request(method, kept.depot.address(path), headers=header)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert "`modeldepot key " in answer.headers["x-error-message"]
        assert method == "HEAD" or answer.json()["error"] == answer.headers["x-error-message"]


@SQLITE
def test_who_guesses_is_answered_alike_however_often(start_depot: StartDepot) -> None:
    depot = start_depot(workers=0)
    header = {"Authorization": f"Bearer {KEY}:a-wrong-secret-of-nobody"}
    path = depot.address(f"/{BERT}/resolve/main/config.json")
    assert {httpx2.get(path, headers=header).status_code for _ in range(30)} == {401}


@pytest.mark.parametrize(
    "path", ["/api/datasets/acme/set", "/datasets/acme/set/resolve/main/a", "/api/spaces/acme/app"]
)
def test_other_kinds_are_not_kept(kept: Kept, path: str) -> None:
    answer = kept.get(path)
    assert (answer.status_code, answer.headers["x-error-code"]) == (404, "RepoNotFound")
    assert "models only" in answer.headers["x-error-message"]


def test_what_clients_ask_by_the_way_is_not_there_and_is_no_failed_login(kept: Kept) -> None:
    for path in ("/api/agent-harnesses", "/api/nothing/at/all", "/api"):
        answer = httpx2.get(kept.depot.address(path))
        assert (answer.status_code, "x-error-code" in answer.headers) == (404, False)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", f"/{BERT}/resolve/main/config.json", "GET, HEAD"),
        ("GET", f"/api/models/{BERT}/paths-info/main", "POST"),
        ("PUT", f"/api/models/{BERT}", "GET, HEAD"),
    ],
)
def test_nothing_is_changed_here(kept: Kept, method: str, path: str, allowed: str) -> None:
    answer = kept.ask(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_head_answers_as_get_without_the_body(kept: Kept) -> None:
    for method, path in _ROUTES:
        if method == "GET":
            got, headed = kept.get(path), kept.ask("HEAD", path)
            assert (headed.status_code, headed.content) == (got.status_code, b"")
            assert headed.headers["content-length"] == got.headers["content-length"]


@pytest.mark.parametrize("name", ["no/such", "acme", "a" * 97 + "/x", "acme/x%00", "acme/%2e%2e", "%ff/x"])
def test_what_is_not_kept_is_said_with_what_to_do(kept: Kept, name: str) -> None:
    for path in (f"/api/models/{name}", f"/{name}/resolve/main/config.json", f"/v2/{name}/manifests/latest"):
        answer = kept.get(path)
        assert answer.status_code == 404
        assert answer.headers["x-error-code"] in {"RepoNotFound", "EntryNotFound"}
    told = kept.get("/api/models/no/such").json()
    assert told == {"error": "the depot does not keep no/such: modeldepot pull no/such"}


def test_a_name_without_owner_fits_its_only_owner(kept: Kept) -> None:
    bare = BERT.partition("/")[2]
    assert kept.get(f"/api/models/{bare}").json()["id"] == BERT
    assert kept.get(f"/api/models/{bare}/revision/main").json()["sha"] == kept.commit(BERT)
    assert len(kept.get(f"/api/models/{bare}/tree/main").json()) == 4
    assert kept.get(f"/{bare}/resolve/main/vocab.txt").content == b"one\ntwo\n"
    assert kept.get(f"/api/models/{bare.upper()}").status_code == 404


@SQLITE
def test_a_name_without_owner_that_fits_several_is_none(fresh: Kept) -> None:
    fresh.hub.add("other/tiny-bert", FILES[BERT])
    for name in (BERT, "other/tiny-bert"):
        fresh.pull(name)
    answer = fresh.get("/api/models/tiny-bert")
    assert (answer.status_code, answer.headers["x-error-code"]) == (404, "RepoNotFound")
    assert f"{BERT}, other/tiny-bert" in answer.json()["error"]


@SQLITE
def test_a_revision_comes_as_one_segment_or_as_git_writes_it(fresh: Kept) -> None:
    repo = fresh.hub.repos["models", BERT]
    commit = repo.commit({"config.json": b"{}"}, branch="refs/pr/1")
    fresh.pull(BERT, revision="refs/pr/1")
    for revision in ("refs%2Fpr%2F1", "refs%2fpr%2f1", "refs/pr/1", commit):
        assert fresh.get(f"/api/models/{BERT}/revision/{revision}").json()["sha"] == commit
        assert len(fresh.get(f"/api/models/{BERT}/tree/{revision}/onnx").json()) == 2
        assert fresh.get(f"/{BERT}/resolve/{revision}/config.json").content == b"{}"
    # Nothing else is kept of it: what names no revision gets that one, and main is not it.
    assert fresh.get(f"/api/models/{BERT}").json()["sha"] == commit
    assert fresh.get(f"/api/models/{BERT}/refs").json()["branches"][0]["targetCommit"] == commit
    answer = fresh.get(f"/{BERT}/resolve/main/config.json")
    assert (answer.status_code, answer.headers["x-error-code"]) == (404, "RevisionNotFound")
    assert answer.json()["error"].endswith(f"at refs/pr/1, not at main: modeldepot pull {BERT}")


@SQLITE
def test_all_of_it_is_below_a_prefix_too(start_depot: StartDepot, hub: Hub) -> None:
    hub.add(BERT, FILES[BERT])
    kept = Kept(start_depot(root_path="/depot"), hub)
    kept.pull(BERT)
    for prefix in ("", "/depot"):
        assert kept.get(f"{prefix}/api/models/{BERT}").json()["id"] == BERT
        assert kept.get(f"{prefix}/{BERT}/resolve/main/vocab.txt").content == b"one\ntwo\n"
        assert kept.get(f"{prefix}/{BERT}/resolve/refs%2Fpr%2F1/vocab.txt").status_code == 404


def test_the_contract_s_own_routes_are_as_before(kept: Kept) -> None:
    document: dict[str, Any] = kept.get("/openapi.json").json()
    assert not [path for path in document["paths"] if "resolve" in path or "/api/" in path or "manifests" in path]
    assert kept.get("/v2/ai/model").json() == kept.get("/ai/model").json()
    assert kept.get("/v2/ai/model/no-id").json()["title"] == "Not Found"
    assert kept.get("/console/acme/resolve/main/x").headers["location"].startswith("/console/sign-in")
    # Elsewhere nothing is the Hub's.
    assert "/docs" in kept.get("/nothing/at/all").json()["error"]
