"""Files over Xet when that goes wrong: what it can't bring comes over plain HTTP, and all of it is checked."""

import random
import time
from pathlib import Path

import pytest

from tests.fakehub.hub import Fault, Hub, Repo
from tests.faults.conftest import contents, published
from tests.faults.engine import UNDER_WAY, Engine
from tests.processes import BUSY
from worker.download.protocol import Bandwidth, Planned, Progress

MIB = 1 << 20
CHUNK = 128 << 10
"""The most bytes of what a file is cut into: a request brings whole ones."""
MODEL = "model.safetensors"


@pytest.fixture
def repo(hub: Hub) -> Repo:
    files = {MODEL: random.Random(5).randbytes(12 * MIB), "second.bin": random.Random(6).randbytes(3 * MIB)}
    return hub.add("acme/model", files | {"config.json": b"{}", "plain.txt": b"words\n" * 300_000}, xet=True)


@pytest.fixture
def large(hub: Hub) -> Repo:
    return hub.add("acme/large", {MODEL: random.Random(7).randbytes(128 * MIB)}, xet=True)


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
    downloaded = [message.downloaded for message in outcome.all(Progress)]
    assert downloaded == sorted(downloaded)


def test_what_xet_has_wrong_is_noticed_and_comes_over_plain_http(hub: Hub, repo: Repo, engine: Engine) -> None:
    hub.misbehave(Fault("corrupt", on="xorb", after_bytes=MIB, times=None))
    outcome = engine.run()
    assert outcome.done, outcome.messages[-1]
    assert any(request.fault == "corrupt" for request in hub.requests)
    assert published(engine) == contents(repo)
    assert 0 <= hub.bytes_sent(MODEL) - 12 * MIB <= UNDER_WAY


def test_where_hf_xet_does_not_work_files_come_over_plain_http(
    hub: Hub, repo: Repo, engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "hf_xet.py").write_text("raise ImportError('not on this platform')")
    engine.environment = {"PYTHONPATH": str(tmp_path)}
    engine.executed = True
    assert engine.run(xet="on").done
    assert published(engine) == contents(repo)
    assert 0 <= hub.bytes_sent(MODEL) - 12 * MIB <= UNDER_WAY


def test_what_came_before_the_store_failed_does_not_come_again(hub: Hub, repo: Repo, engine: Engine) -> None:
    hub.misbehave(Fault("status", on="cas", status=500, skip=12, times=None))
    assert engine.run().done
    assert published(engine) == contents(repo)
    brought = sum(request.bytes_sent for request in hub.requests if request.place == "xorb")
    assert brought > MIB
    assert hub.bytes_sent(MODEL) + hub.bytes_sent("second.bin") <= 15 * MIB - brought + 16 * CHUNK


def test_a_store_that_is_slow_is_left_for_plain_http_while_that_is_faster(hub: Hub, repo: Repo, engine: Engine) -> None:
    hub.misbehave(Fault("trickle", on="xorb", rate=100_000, times=None))
    outcome = engine.run(stall_window=20, lease=600)  # what is under way over Xet is waited for
    assert outcome.done
    assert published(engine) == contents(repo)
    assert 0 < hub.bytes_sent(MODEL) < 12 * MIB
    assert any(request.place == "xorb" for request in hub.requests)


@pytest.mark.parametrize("mode", ["on", "off"])
def test_the_operator_says_whether_files_come_over_xet(hub: Hub, repo: Repo, engine: Engine, mode: str) -> None:
    assert engine.run(xet=mode).done
    assert published(engine) == contents(repo)
    assert any(request.place == "xorb" for request in hub.requests) == (mode == "on")
    assert 0 <= hub.bytes_sent(MODEL) - (0 if mode == "on" else 12 * MIB) <= UNDER_WAY


def test_a_limit_on_bandwidth_holds_over_xet_and_less_is_asked_for_at_once(
    hub: Hub, repo: Repo, engine: Engine
) -> None:
    limit = 4 * MIB
    with engine.start(xet="on") as attempting:
        attempting.send(Bandwidth(limit))
        began = time.monotonic()
        assert attempting.outcome().done
        passed = time.monotonic() - began
    assert published(engine) == contents(repo)
    xorbs = [request.bytes_sent for request in hub.requests if request.place == "xorb"]
    assert sum(xorbs) / passed < limit * 1.2
    assert max(xorbs) <= MIB + 2 * CHUNK


def test_after_a_kill_at_most_64_mib_of_a_file_come_again(hub: Hub, engine: Engine, large: Repo) -> None:
    size = len(contents(large)[MODEL])
    hub.total_rate = 25 * MIB
    with engine.start(name=large.name, xet="on", stall_window=60) as attempting:
        outcome = attempting.outcome(lambda message: isinstance(message, Progress) and message.downloaded > 0.8 * size)
        attempting.process.kill()
        attempting.process.wait()
    assert not outcome.done
    hub.total_rate = None
    resumed = engine.run(name=large.name, xet="on")
    assert resumed.done
    again = hub.bytes_sent() - size
    print(f"killed at 80 %: {again / MIB:.1f} MiB fetched again")
    assert again <= 64 * MIB
    assert published(engine) == contents(large)


@pytest.mark.parametrize("stalled", [False, True], ids=["running", "stalled"])
def test_who_is_asked_to_stop_ends_within_two_seconds_and_keeps_what_came(
    hub: Hub, engine: Engine, large: Repo, stalled: bool
) -> None:
    size = len(contents(large)[MODEL])
    if stalled:
        hub.misbehave(Fault("stall", on="xorb", skip=12, times=None))
    else:
        hub.total_rate = 20 * MIB
    with engine.start(name=large.name, xet="on", stall_window=60) as attempting:
        told = attempting.outcome(lambda message: isinstance(message, Progress) and message.downloaded >= 8 * MIB)
        came = told.last(Progress).downloaded
        began = time.monotonic()
        attempting.process.terminate()
        assert attempting.process.wait(60) == 0
        assert time.monotonic() - began < 2 + BUSY
    hub.behave()
    hub.total_rate = None
    # What came over Xet, plain HTTP goes on from.
    resumed = engine.run(name=large.name, xet="off")
    assert resumed.done
    assert resumed.last(Planned).missing <= size - came
    assert 0 <= hub.bytes_sent(MODEL) - resumed.last(Planned).missing <= UNDER_WAY
    assert published(engine) == contents(large)


def test_what_came_over_plain_http_does_not_come_again_over_xet(hub: Hub, repo: Repo, engine: Engine) -> None:
    hub.misbehave(Fault("stall", path=MODEL, after_bytes=5 * MIB, times=None))
    with engine.start(xet="off", connections=1, stall_window=60) as attempting:
        attempting.outcome(lambda message: isinstance(message, Progress) and message.downloaded >= 5 * MIB)
        attempting.process.terminate()
        attempting.process.wait(60)
    hub.behave()
    hub.forget()
    resumed = engine.run(xet="on")
    assert resumed.done
    assert 0 < hub.bytes_sent() <= resumed.last(Planned).missing + 16 * CHUNK
    assert not hub.bytes_sent(MODEL)
    assert published(engine) == contents(repo)


def test_a_token_that_expires_meanwhile_is_had_again_and_the_callers_own_goes_to_the_hub_only(
    hub: Hub, repo: Repo, engine: Engine
) -> None:
    hub.account("hf_caller")
    hub.xet.token_seconds = 31
    hub.total_rate = 4 * MIB
    hub.misbehave(Fault("status", on="cas", status=401, skip=5))
    assert engine.run(token="hf_caller", xet="on", stall_window=20).done
    assert published(engine) == contents(repo)
    given = [request for request in hub.requests if request.place == "xet"]
    assert len(given) >= 3
    assert {request.authorization for request in given} == {"Bearer hf_caller"}
    assert not hub.bytes_sent(MODEL)
    elsewhere = [request for request in hub.requests if request.place in {"cas", "xorb"}]
    assert not [request for request in elsewhere if "hf_caller" in str(request.headers)]
