"""Going on after whatever ended an attempt: only what is missing is fetched, and all of it is checked."""

import shutil
import time
from pathlib import Path

import pytest

from tests.fakehub.hub import Fault, Hub, Repo, Synthetic
from tests.faults.conftest import contents, published
from tests.faults.engine import Engine
from tests.processes import BUSY
from worker.download.protocol import Bandwidth, Planned, Progress, Verified

NAME = "acme/large"
MIB = 1 << 20
SIZE = 160 * MIB
MODEL = "model.safetensors"


@pytest.fixture
def large(hub: Hub) -> Repo:
    return hub.add(NAME, {MODEL: Synthetic(SIZE, 7), "config.json": b"{}", "tokenizer.json": b"[]" * 1000})


@pytest.fixture
def engine(hub: Hub, large: Repo, tmp_path: Path) -> Engine:
    return Engine(hub, tmp_path / "storage", large.name)


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_after_a_kill_at_most_64_mib_of_a_file_in_flight_come_again(
    hub: Hub, large: Repo, engine: Engine, share: float
) -> None:
    hub.total_rate = 25 * MIB
    with engine.start() as attempting:
        outcome = attempting.outcome(
            lambda message: isinstance(message, Progress) and message.downloaded > share * SIZE
        )
        attempting.process.kill()
        attempting.process.wait()
    assert not outcome.done
    hub.total_rate = None
    resumed = engine.run()
    assert resumed.done
    again = hub.bytes_sent(MODEL) - SIZE
    print(f"killed at {share:.0%}: {again / MIB:.1f} MiB fetched again")
    assert 0 <= again <= 64 * MIB
    assert published(engine) == contents(large)
    small = [request for request in hub.requests if request.file == "config.json" and request.status == 200]
    assert len(small) == 1, "a complete file was fetched again"


def test_who_is_asked_to_stop_keeps_every_byte_that_has_arrived(hub: Hub, large: Repo, engine: Engine) -> None:
    connections, each = 4, 3 * MIB  # less than a step
    hub.misbehave(Fault("stall", path=MODEL, after_bytes=each, times=None))
    with engine.start(connections=connections, stall_window=60) as attempting:
        arrived = attempting.outcome(
            lambda message: isinstance(message, Progress) and message.downloaded >= connections * each
        )
        attempting.process.terminate()
        assert attempting.process.wait(10 + BUSY) == 0
    assert not arrived.done
    hub.behave()
    resumed = engine.run(connections=1)
    assert resumed.done
    assert resumed.last(Planned).missing == SIZE - connections * each
    assert hub.bytes_sent(MODEL) == SIZE
    assert published(engine) == contents(large)


def test_what_rotted_between_two_attempts_is_noticed_and_fetched_again(hub: Hub, large: Repo, engine: Engine) -> None:
    hub.misbehave(Fault("status", path="tokenizer.json", status=500, times=None))
    assert not engine.run().done
    hub.behave()
    for path in engine.arrived():
        if path.suffix != ".steps" and path.stat().st_size > MIB:
            path.chmod(0o644)
            with path.open("r+b") as file:
                file.seek(MIB)
                byte = file.read(1)
                file.seek(MIB)
                file.write(bytes([byte[0] ^ 0xFF]))
    outcome = engine.run()
    assert outcome.done, outcome.messages[-1]
    assert published(engine) == contents(large)


def test_a_published_model_whose_worker_died_before_it_said_so_is_not_fetched_again(
    hub: Hub, large: Repo, engine: Engine
) -> None:
    assert engine.run().done
    engine.publish()
    sent = hub.bytes_sent()
    again = engine.run()
    assert again.done
    assert sorted(message.path for message in again.all(Verified)) == sorted(contents(large))
    assert hub.bytes_sent() == sent
    assert published(engine) == contents(large)


def test_a_stray_file_is_not_published(hub: Hub, large: Repo, engine: Engine) -> None:
    hub.misbehave(Fault("status", path="tokenizer.json", status=500, times=None))
    assert not engine.run().done
    hub.behave()
    stray = engine.tree / "folder" / "stray.bin"
    stray.parent.mkdir()
    stray.write_bytes(b"not of this model")
    assert engine.run().done
    assert published(engine) == contents(large)


def test_a_second_revision_fetches_only_what_changed_and_deleting_the_first_does_not_harm_it(
    hub: Hub, large: Repo, tmp_path: Path
) -> None:
    first = Engine(hub, tmp_path / "storage", NAME)
    assert first.run().done
    folder = first.publish()
    entries = large.commits[large.branches["main"]].entries
    large.commit({"config.json": b'{"changed": true}'}, branch="next")
    sent = hub.bytes_sent()
    second = Engine(hub, tmp_path / "storage", NAME, revision="next")
    second.links = {entries[MODEL].content.sha256: str(folder / MODEL)}
    outcome = second.run()
    assert outcome.done
    assert outcome.last(Planned).missing < 10_000
    assert hub.bytes_sent() - sent < 10_000
    target = second.publish()
    assert (target / MODEL).samefile(folder / MODEL)
    shutil.rmtree(folder)
    assert {path: (target / path).read_bytes() for path in contents(large, "next")} == contents(large, "next")


@pytest.mark.parametrize("token", [None, "hf_stranger"])
def test_files_that_are_here_give_no_access(hub: Hub, large: Repo, engine: Engine, token: str | None) -> None:
    """Neither those of another model nor those of an earlier attempt whose token could read them."""
    large.gated = True
    hub.account("hf_owner", accepted=[NAME])
    hub.account("hf_stranger")
    hub.misbehave(Fault("status", path="tokenizer.json", status=500, times=None))
    assert engine.run(token="hf_owner").reason == "unavailable"
    hub.behave()
    before = set(engine.arrived())
    outcome = engine.run(token=token)
    assert outcome.reason == "forbidden", outcome.text
    assert "Hub token" in outcome.text or "licence" in outcome.text
    assert {path for path in engine.storage.layout.root.rglob("*") if path.is_file()} == before
    assert engine.run(token="hf_owner").done


def test_progress_never_goes_back(hub: Hub, engine: Engine) -> None:
    hub.total_rate = 40 * MIB
    hub.misbehave(Fault("drop", path=MODEL, after_bytes=3 * MIB, times=3))
    outcome = engine.run()
    assert outcome.done
    downloaded = [message.downloaded for message in outcome.all(Progress)]
    assert downloaded == sorted(downloaded)
    assert len(downloaded) >= 3
    assert max(message.rate for message in outcome.all(Progress)) > MIB


def test_a_bandwidth_limit_is_passed_by_a_tenth_at_most(large: Repo, engine: Engine) -> None:
    size = 64 * MIB
    large.commit({MODEL: Synthetic(size, 7)})
    limit = 10 * MIB
    with engine.start() as attempting:
        attempting.send(Bandwidth(limit))
        attempting.outcome(lambda message: isinstance(message, Planned))
        began = time.monotonic()
        assert attempting.outcome().done
    # How near to the limit it comes is the machine's, too.
    assert 0.3 <= size / (time.monotonic() - began) / limit <= 1.1
