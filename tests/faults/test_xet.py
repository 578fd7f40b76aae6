"""Files over Xet when that goes wrong: what it can't bring comes over plain HTTP, and all of it is checked."""

import random

import pytest

from tests.faults.conftest import contents, published
from tests.faults.engine import Engine
from tests.hub import Fault, Hub, Repo

MIB = 1 << 20
MODEL = "model.safetensors"


@pytest.fixture
def repo(hub: Hub) -> Repo:
    files = {MODEL: random.Random(5).randbytes(12 * MIB), "second.bin": random.Random(6).randbytes(3 * MIB)}
    return hub.add("acme/model", files | {"config.json": b"{}", "plain.txt": b"words\n" * 300_000}, xet=True)


def test_files_come_over_xet_where_the_hub_offers_it(hub: Hub, repo: Repo, engine: Engine) -> None:
    assert engine.run().done
    assert published(engine) == contents(repo)
    assert any(request.place == "xorb" for request in hub.requests)
    assert not [request for request in hub.requests if request.place == "file" and request.file == MODEL]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", on="xet", status=500, times=None),
        Fault("status", on="xet", status=403, times=None),
        Fault("status", on="cas", status=404, times=None),
        Fault("stall", on="cas", after_bytes=None, times=None),
        Fault("stall", on="xorb", after_bytes=MIB, times=None),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.on}-{fault.status if fault.kind == 'status' else ''}",
)
def test_what_xet_can_not_bring_comes_over_plain_http_and_progress_does_not_go_back(
    hub: Hub, repo: Repo, engine: Engine, fault: Fault
) -> None:
    hub.misbehave(fault)
    outcome = engine.run(stall_window=2.0)
    assert outcome.done, outcome.messages[-1]
    assert any(request.fault == fault.kind for request in hub.requests), "the fault never struck"
    assert published(engine) == contents(repo)
    downloaded = [message["downloaded"] for message in outcome.messages if message["event"] == "progress"]
    assert downloaded == sorted(downloaded)


def test_what_xet_has_wrong_is_noticed_and_comes_over_plain_http(hub: Hub, repo: Repo, engine: Engine) -> None:
    hub.misbehave(Fault("corrupt", on="xorb", after_bytes=MIB, times=None))
    outcome = engine.run()
    assert outcome.done, outcome.messages[-1]
    assert any(request.fault == "corrupt" for request in hub.requests)
    assert published(engine) == contents(repo)
    assert hub.bytes_sent(MODEL) == 12 * MIB


def test_with_a_limit_on_bandwidth_files_come_over_plain_http(hub: Hub, repo: Repo, engine: Engine) -> None:
    with engine.start() as attempting:
        attempting.send(bandwidth=100 * MIB)
        assert attempting.outcome().done
    assert published(engine) == contents(repo)
    assert not [request for request in hub.requests if request.place == "xorb"]
