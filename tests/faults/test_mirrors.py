"""Hubs that are not the Hub: they lack routes, pass on another hub's links, cut lists short, and answer in other shapes."""

import base64
import json
import random
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import get_hf_file_metadata

from tests.fakehub.exchange import Place
from tests.fakehub.hub import Fault, Hub, Repo
from tests.faults.conftest import FILES, contents, published
from tests.faults.engine import Engine
from tests.faults.relays import Below
from worker.download.client import Guard, make_client
from worker.download.protocol import Failure
from worker.download.stalls import StallLimit

TOKEN = "hf_planted"


def _json(change: Callable[[Any], Any]) -> Callable[[bytes], bytes]:
    return lambda body: json.dumps(change(json.loads(body))).encode()


def _cut(count: int) -> Callable[[bytes], bytes]:
    return _json(lambda entries: entries[:count])


def _altered(change: dict[str, Any]) -> Callable[[bytes], bytes]:
    return _json(lambda entries: [entry | change for entry in entries])


@pytest.mark.parametrize("status", [400, 404, 405, 501])
@pytest.mark.parametrize("code", [{}, {"X-Error-Code": "RepoNotFound"}], ids=["", "as Olah"])
def test_a_hub_without_auth_check_is_asked_for_a_file(
    hub: Hub, repo: Repo, engine: Engine, status: int, code: dict[str, str]
) -> None:
    hub.misbehave(Fault("status", on="auth", status=status, headers=code, times=None))
    assert engine.run().done
    assert published(engine) == contents(repo)
    first = next(request for request in hub.requests if "/resolve/" in request.path)
    assert (first.file, first.range) == ("model.safetensors", "bytes=0-0")


@pytest.mark.parametrize("token", [None, TOKEN])
def test_a_hub_without_auth_check_does_not_open_a_gated_repository(
    hub: Hub, repo: Repo, engine: Engine, token: str | None
) -> None:
    repo.gated = True
    hub.account(TOKEN)
    hub.misbehave(Fault("status", on="auth", status=404, times=None))
    outcome = engine.run(token=token)
    assert outcome.reason == "forbidden"
    assert "The Hub says: Access to model acme/model is restricted" in outcome.text
    assert [type(message) for message in outcome.messages] == [Failure], "nothing was linked or planned"
    hub.account(TOKEN, accepted=[repo.name], may_read=[repo.name])
    assert engine.run(token=TOKEN).done


@pytest.mark.parametrize("code", [{}, {"X-Error-Code": "RepoNotFound"}], ids=["", "as Olah"])
def test_a_hub_without_a_tree_is_asked_for_the_description_of_all_files(
    hub: Hub, repo: Repo, engine: Engine, code: dict[str, str]
) -> None:
    hub.misbehave(Fault("status", on="tree", status=404, headers=code, times=None))
    assert engine.run().done
    assert published(engine) == contents(repo)


@pytest.mark.parametrize("patterns", [{}, {"include": ["*.safetensors"]}])
def test_a_tree_that_is_cut_short_is_not_taken_for_the_whole(
    hub: Hub, engine: Engine, patterns: dict[str, Any]
) -> None:
    hub.misbehave(Fault("rewrite", on="tree", rewrite=_cut(1), times=1))
    outcome = engine.run(**patterns)
    assert (outcome.reason, outcome.last(Failure).again) == ("unavailable", True)
    assert "leaves" in outcome.text
    assert engine.run(**patterns).done, "the next answer was whole"


def test_a_description_that_names_fewer_files_than_the_tree_is_normal(hub: Hub, repo: Repo, engine: Engine) -> None:
    fewer = _json(lambda told: told | {"siblings": told["siblings"][:1]})
    hub.misbehave(Fault("rewrite", on="revision", rewrite=fewer, times=None))
    assert engine.run().done
    assert published(engine) == contents(repo)


def test_a_file_that_is_not_selected_may_be_missing_from_the_tree(hub: Hub, engine: Engine) -> None:
    only = _json(lambda entries: [entry for entry in entries if entry["path"] == "config.json"])
    hub.misbehave(Fault("rewrite", on="tree", rewrite=only, times=None))
    assert engine.run(include=["config.json"]).done


REVISIONS: list[Callable[[bytes], bytes]] = [
    lambda _: b"[]",
    lambda _: b"null",
    lambda _: b"{}",
    lambda _: b'"text"',
    lambda _: b"<html>blocked</html>",
    lambda _: b"[" * 100_000,
    _json(lambda told: told | {"siblings": 7}),
    _json(lambda told: told | {"siblings": [None]}),
    _json(lambda told: told | {"siblings": [{"name": "config.json"}]}),
    _json(lambda told: told | {"sha": 7}),
    _json(lambda told: told | {"sha": "a\udc80"}),
    _json(lambda told: told | {"sha": "c" * 65}),
    _json(lambda told: told | {"lastModified": 7}),
]
CHANGES: list[dict[str, Any]] = [
    {"size": "12"},
    {"size": None},
    {"size": True},
    {"size": 1.5},
    {"path": 7},
    {"oid": None},
    {"type": None},
    {"lfs": []},
    {"lfs": {"size": 1}},
    {"lfs": "text"},
]
TREES: list[Callable[[bytes], bytes]] = [
    lambda _: b"{}",
    lambda _: b"null",
    lambda _: b"[null]",
    lambda _: b"7",
    lambda _: b"<html>blocked</html>",
    _cut(0),
    *map(_altered, CHANGES),
]


@pytest.mark.parametrize(
    ("on", "rewrite"),
    [("revision", rewrite) for rewrite in REVISIONS] + [("tree", rewrite) for rewrite in TREES],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_answer_of_another_shape_is_asked_for_again(
    hub: Hub, repo: Repo, engine: Engine, on: Any, rewrite: Callable[[bytes], bytes]
) -> None:
    hub.misbehave(Fault("rewrite", on=on, rewrite=rewrite, times=1))
    outcome = engine.run()
    assert (outcome.reason, outcome.last(Failure).again) == ("unavailable", True), outcome.messages
    assert engine.run().done
    assert published(engine) == contents(repo)


def test_links_to_the_next_page_are_asked_of_the_endpoint(hub: Hub, repo: Repo, engine: Engine) -> None:
    """Whatever they name: another origin, which must not see the token, or a path only."""
    hub.account(TOKEN)
    hub.page_size = 2
    tree = f"/api/models/{repo.name}/tree"
    for address in (f"{hub.cdn}{tree}", f"https://hub.invalid{tree}", tree, f"//hub.invalid{tree}"):
        hub.forget()
        hub.misbehave(
            *(
                Fault("rewrite", on="tree", headers={"Link": _link(repo, address, 2 * (page + 1))})
                for page in range((len(FILES) + 1) // 2)
            )
        )
        assert engine.run(token=TOKEN).done, address
        hub.behave()
        pages = [request for request in hub.requests if request.place == "tree"]
        assert len(pages) > 1
        assert {request.origin for request in pages} == {"hub"}
        assert {request.authorization for request in hub.requests if request.origin != "hub"} <= {None}


@pytest.mark.usefixtures("client_of_its_own")
@pytest.mark.parametrize("header", ["Link", "X-Xet-Refresh-Route"])
def test_a_token_for_the_content_store_is_asked_of_the_endpoint(hub: Hub, header: str) -> None:
    """Whatever route an answer names: hf_xet takes it over, to ask again there with the caller's token."""
    hub.account(TOKEN)
    repo = hub.add("acme/stored", {"model.safetensors": random.Random(1).randbytes(2 << 20)}, xet=True)
    route = f"{hub.cdn}/api/models/{repo.name}/xet-read-token/{repo.branches['main']}"
    value = f'<{route}>; rel="xet-auth"' if header == "Link" else route
    hub.misbehave(Fault("rewrite", on="file", headers={"Link": "", header: value}, times=None))
    make_client(
        hub.endpoint, StallLimit(5, 1), ssl.create_default_context(), Guard(hub.endpoint, redirects_inside=False)
    )
    told = get_hf_file_metadata(
        f"{hub.endpoint}/{repo.name}/resolve/main/model.safetensors", token=TOKEN, endpoint=hub.endpoint
    )
    assert told.xet_file_data is not None
    assert told.xet_file_data.refresh_route == route.replace(hub.cdn, hub.endpoint)


@pytest.mark.parametrize("lacking", [("auth",), ("auth", "tree")])
def test_a_hub_below_a_path_of_its_server(hub: Hub, repo: Repo, tmp_path: Path, lacking: Sequence[Place]) -> None:
    """Whose links to the next page lack the path, as they are passed on. Artifact stores know few routes."""
    hub.account(TOKEN)
    hub.page_size = 2
    hub.misbehave(*(Fault("status", on=place, status=400, times=None) for place in lacking))
    with Below(hub, "/repository/hf") as store:
        engine = Engine(store, tmp_path / "below", repo.name)
        assert engine.run(token=TOKEN).done
        assert published(engine) == contents(repo)
        outcome = engine.run(name="acme/nothing")
        assert outcome.reason == "not-found"
    assert {url[:15] for url in store.asked} == {"/repository/hf/"}
    assert {request.authorization for request in hub.requests if request.origin != "hub"} <= {None}


def test_a_listing_that_goes_round_ends_with_a_reason(hub: Hub, repo: Repo, engine: Engine) -> None:
    tree = f"{hub.endpoint}/api/models/{repo.name}/tree/main?recursive=true"
    hub.misbehave(Fault("rewrite", on="tree", headers={"Link": f'<{tree}&cursor=MA==>; rel="next"'}, times=None))
    outcome = engine.run()
    assert outcome.reason == "unsupported"
    assert "the same page again and again" in outcome.text
    assert len([request for request in hub.requests if request.place == "tree"]) <= 6


def test_a_commit_that_is_gone_is_resolved_anew(repo: Repo, engine: Engine) -> None:
    gone = "0" * 40
    assert engine.run(commit=gone).done
    assert published(engine) == contents(repo)
    assert engine.run(commit=gone, revision="nowhere").reason == "not-found"


def test_the_hub_s_own_words_are_passed_on(hub: Hub, engine: Engine) -> None:
    words = "Your request is awaiting a review from the repo authors. See https://hub.example/a?X-Signature=planted."
    refusal = {"X-Error-Code": "GatedRepo", "X-Error-Message": words + "x" * 500}
    hub.misbehave(Fault("status", on="auth", status=403, headers=refusal))
    outcome = engine.run(token=TOKEN)
    assert outcome.reason == "forbidden"
    assert "awaiting a review from the repo authors. See https://hub.example/a" in outcome.text
    assert "planted" not in outcome.text
    assert len(outcome.text) < 600


def test_a_repository_that_is_not_shown_is_not_found_and_a_wrong_token_is_forbidden(hub: Hub, engine: Engine) -> None:
    outcome = engine.run(name="acme/modle")
    assert outcome.reason == "not-found"
    assert "retry with a Hub token if it is private" in outcome.text
    assert engine.run(name="acme/modle", token="hf_wrong").reason == "forbidden"
    hub.account(TOKEN)
    assert engine.run(name="acme/modle", token=TOKEN).reason == "not-found"


def test_the_limit_counts_what_is_selected(hub: Hub, engine: Engine) -> None:
    many = {f"data/{number}.bin": b"" for number in range(100_051)} | {"config.json": b"{}"}
    hub.add("acme/many", many)
    assert engine.run(name="acme/many", include=["config.json"]).done
    outcome = engine.run(name="acme/many")
    assert outcome.reason == "unsupported"
    assert "100000" in outcome.text


def _link(repo: Repo, address: str, start: int) -> str:
    """The Hub's own link behind `start` entries, at another address; none behind the last."""
    if start >= len(repo.commits[repo.branches["main"]].tree):
        return ""
    cursor = base64.urlsafe_b64encode(str(start).encode()).decode()
    return f'<{address}/{repo.branches["main"]}?recursive=true&expand=false&cursor={cursor}>; rel="next"'
