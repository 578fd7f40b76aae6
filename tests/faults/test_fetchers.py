"""The three ways in which files come: over Xet, over plain HTTP, and by huggingface_hub's own means."""

import random
import time
from typing import Any

import pytest

from tests.fakehub.hub import Fault, Files, Hub, Repo
from tests.faults.conftest import FILES, contents, published
from tests.faults.engine import Engine
from worker.download.protocol import Bandwidth, Progress, Verified

MIB = 1 << 20
WAYS: dict[str, dict[str, Any]] = {
    "xet": {"xet": "on"},
    "plain": {"xet": "off"},
    "snapshot": {"fetcher": "snapshot"},
    "plain-snapshot": {"fetcher": "snapshot", "xet": "off"},
}
TWIN = random.Random(3).randbytes(5 * MIB)
REPOSITORIES: dict[str, tuple[Files, bool]] = {
    "lfs": (FILES, False),
    "xet": (
        {
            "model.safetensors": random.Random(1).randbytes(9 * MIB),
            "a.bin": TWIN,
            "folder/twin.bin": TWIN,
            "small.bin": b"a" * 1000,
            "odd [name]*.txt": b"words",
            "deep/down/ünïcode.json": b"{}",
            "empty.txt": b"",
        },
        True,
    ),
}
STRANGE = [Fault("status", on=place, status=418, agent="modeldepot", times=None) for place in ("redirect", "file")]
"""Our own requests for files are not understood; huggingface_hub's are."""


@pytest.fixture(params=list(REPOSITORIES))
def repo(hub: Hub, request: pytest.FixtureRequest) -> Repo:
    files, xet = REPOSITORIES[request.param]
    return hub.add("acme/model", files, xet=xet)


@pytest.mark.parametrize("way", list(WAYS))
def test_each_way_brings_the_same_files_and_says_the_same_of_them(
    hub: Hub, repo: Repo, engine: Engine, way: str
) -> None:
    outcome = engine.run(**WAYS[way], stall_window=20)
    assert outcome.done, outcome.messages[-1]
    files = contents(repo)
    assert published(engine) == files
    entries = repo.commits[repo.branches["main"]].entries
    told = {message.path: (message.size, message.sha256) for message in outcome.all(Verified)}
    assert told == {path: (entry.content.size, entry.content.sha256) for path, entry in entries.items()}
    assert len(outcome.all(Verified)) == len(files)
    if repo.xet:
        assert any(request.place == "xorb" for request in hub.requests) == (way in {"xet", "snapshot"})


def test_huggingface_hub_fetches_what_a_hub_that_has_changed_gives_to_nobody_else(
    hub: Hub, repo: Repo, engine: Engine
) -> None:
    hub.misbehave(*STRANGE)
    outcome = engine.run(stall_window=20)
    assert outcome.done, outcome.messages[-1]
    assert any(request.fault == "status" for request in hub.requests)
    assert published(engine) == contents(repo)
    downloaded = [message.downloaded for message in outcome.all(Progress)]
    assert downloaded == sorted(downloaded)


@pytest.mark.parametrize("status", [403, 503])
@pytest.mark.usefixtures("repo")
def test_it_is_not_asked_where_the_hub_refuses_or_is_down(hub: Hub, engine: Engine, status: int) -> None:
    hub.misbehave(*(Fault("status", on=place, status=status, times=None) for place in ("redirect", "file")))
    assert not engine.run(xet="off").done
    assert not [request for request in hub.requests if request.place == "head"]


def test_what_it_brings_is_checked_and_fetched_once_more(hub: Hub, repo: Repo, engine: Engine) -> None:
    hub.misbehave(Fault("corrupt", path="*.safetensors", after_bytes=MIB))
    outcome = engine.run(fetcher="snapshot", xet="off", stall_window=20)
    assert outcome.done, outcome.messages[-1]
    assert any(request.fault == "corrupt" for request in hub.requests)
    assert published(engine) == contents(repo)


def test_a_limit_on_bandwidth_holds_for_it(hub: Hub, repo: Repo, engine: Engine) -> None:
    limit = sum(map(len, contents(repo).values())) // 3
    with engine.start(fetcher="snapshot", stall_window=20) as attempting:
        attempting.send(Bandwidth(limit))
        began = time.monotonic()
        outcome = attempting.outcome()
    assert outcome.done, outcome.messages[-1]
    assert time.monotonic() - began > 2
    assert published(engine) == contents(repo)
    assert not [request for request in hub.requests if request.place == "xorb"]
