"""Models that go straight from the Hub into a bucket: whole, verified, and gone on with after whatever ended an attempt."""

import random
import signal
import time

import pytest

from tests.buckets import Place
from tests.fakehub.hub import Fault, Hub, Repo, Synthetic
from tests.faults.bucketed import BucketEngine, keys, with_memory
from tests.faults.conftest import contents
from tests.faults.engine import Attempting
from tests.processes import BUSY
from worker.download.protocol import Failure, Message, Planned, Progress, Resolved, Verified

MIB = 1 << 20
PART = 8 * MIB
SIZE = 160 * MIB
MODEL = "model.safetensors"
AGAIN = 8 * PART
"""Most bytes that are fetched again after a kill."""


@pytest.fixture
def large(hub: Hub) -> Repo:
    return hub.add("acme/large", {MODEL: Synthetic(SIZE, 7), "config.json": b"{}", "tokenizer.json": b"[]" * 1000})


@pytest.fixture
def engine(hub: Hub, large: Repo, bucket: Place) -> BucketEngine:
    return BucketEngine(hub, bucket, large.name)


def _until(attempting: Attempting, downloaded: int) -> None:
    def far(message: Message) -> bool:
        return isinstance(message, Progress) and message.downloaded >= downloaded

    assert not attempting.outcome(far).done


def test_files_of_every_size_arrive_and_nothing_else_is_left(hub: Hub, bucket: Place) -> None:
    repo = hub.add(
        "acme/sizes",
        {
            "empty.txt": b"",
            "one.bin": b"1",
            "part.safetensors": Synthetic(PART, 1),
            "more.safetensors": Synthetic(PART + 1, 2),
            "large.safetensors": Synthetic(5 * PART + 12_345, 3),
            "in-git.txt": random.Random(4).randbytes(9 * MIB),
            "config.json": b'{"kind": "test"}',
            "model.safetensors.index.json": b"{}",
            "a folder/ünïcode +@~.txt": b"one\n" * 1000,
            "twin.safetensors": Synthetic(PART + 1, 2),
        },
    )
    engine = BucketEngine(hub, bucket, repo.name)
    outcome = engine.run()
    assert outcome.done, outcome.messages[-1]
    sizes = {entry.content.sha256: entry.content.size for entry in repo.commits[repo.branches["main"]].entries.values()}
    assert hub.bytes_sent() == sum(sizes.values()), "something was fetched twice"
    assert engine.published(outcome) == contents(repo)
    assert engine.arriving() == []
    assert len(engine.keys()) == len(contents(repo))


@pytest.mark.parametrize("share", [0.05, 0.4, 0.9])
def test_after_a_kill_at_most_eight_parts_come_again(hub: Hub, large: Repo, engine: BucketEngine, share: float) -> None:
    hub.total_rate = 25 * MIB
    with engine.start() as attempting:
        _until(attempting, int(share * SIZE))
        attempting.process.kill()
        attempting.process.wait()
    assert engine.keys(MODEL) == [], "a file is there before it is whole"
    hub.total_rate = None
    resumed = engine.run()
    assert resumed.done, resumed.messages[-1]
    again = hub.bytes_sent(MODEL) - SIZE
    print(f"killed at {share:.0%}: {again / MIB:.1f} MiB fetched again")
    assert 0 <= again <= AGAIN
    assert engine.published(resumed) == contents(large)
    assert engine.arriving() == []
    small = [request for request in hub.requests if request.file == "tokenizer.json" and request.status == 200]
    assert len(small) == 1, "a complete file was fetched again"


def test_who_is_asked_to_stop_records_what_is_sent(hub: Hub, large: Repo, engine: BucketEngine) -> None:
    hub.total_rate = 25 * MIB
    with engine.start() as attempting:
        _until(attempting, SIZE // 2)
        began = time.monotonic()
        attempting.process.terminate()
        assert attempting.process.wait(10 + BUSY) == 0
        print(f"stopped within {time.monotonic() - began:.2f} s")
    hub.total_rate = None
    resumed = engine.run()
    assert resumed.done
    # What was in buffers, of which some was hashed and sent.
    assert resumed.last(Planned).missing <= SIZE // 2 + AGAIN
    assert engine.published(resumed) == contents(large)


def test_two_attempts_at_once_bring_one_right_model(hub: Hub, large: Repo, engine: BucketEngine) -> None:
    hub.total_rate = 40 * MIB
    with engine.start() as first:
        _until(first, SIZE // 4)
        with engine.start() as second:
            later = second.outcome()
            earlier = first.outcome()
    assert earlier.done or later.done
    for outcome in (earlier, later):
        assert outcome.done or outcome.last(Failure).again, outcome.text
    last = later if later.done else engine.run()
    assert last.done, last.messages[-1]
    assert engine.published(last) == contents(large)


@pytest.mark.parametrize("meanwhile", ["published", "deleted"])
def test_who_was_paused_meanwhile_harms_nothing(hub: Hub, large: Repo, engine: BucketEngine, meanwhile: str) -> None:
    hub.total_rate = 40 * MIB
    with engine.start(lease=3600) as first:
        _until(first, SIZE // 4)
        first.process.send_signal(signal.SIGSTOP)
        hub.total_rate = None
        outcome = engine.run()
        assert outcome.done, outcome.messages[-1]
        engine.publish(outcome)
        if meanwhile == "deleted":
            engine.store.discard(engine.model_id, engine._attempt.label)
            assert engine.keys() == []
        first.process.send_signal(signal.SIGCONT)
        first.outcome()
        first.process.wait(60 + BUSY)
    if meanwhile == "published":
        assert engine.read(outcome) == contents(large)
        assert engine.store.has(engine.model_id)
    # What it left at worst are objects of its id, which the next sweep removes.
    engine.store.discard(engine.model_id, engine._attempt.label)
    assert keys(engine.place, within=str(engine.model_id)) == []


def test_a_wrong_byte_is_fetched_again_and_a_file_that_stays_wrong_is_not_there(
    hub: Hub, large: Repo, engine: BucketEngine
) -> None:
    hub.misbehave(Fault("corrupt", path=MODEL, after_bytes=100, times=1))
    outcome = engine.run()
    assert outcome.done, outcome.messages[-1]
    assert engine.published(outcome) == contents(large)
    again = BucketEngine(hub, engine.place, large.name)
    hub.misbehave(Fault("corrupt", path=MODEL, after_bytes=100, times=None))
    wrong = again.run()
    assert wrong.reason == "partial", wrong.text
    assert again.keys(MODEL) == []
    assert again.arriving() == []


def test_a_whole_file_is_trusted_by_its_checksum_and_is_not_fetched_again(
    hub: Hub, large: Repo, engine: BucketEngine
) -> None:
    hub.misbehave(Fault("status", path="tokenizer.json", status=500, times=None))
    assert engine.run().last(Failure).again
    hub.behave()
    sent = hub.bytes_sent(MODEL)
    outcome = engine.run()
    assert outcome.done
    assert hub.bytes_sent(MODEL) == sent >= SIZE
    assert engine.published(outcome) == contents(large)


def test_files_come_over_xet(hub: Hub, bucket: Place) -> None:
    files = {MODEL: random.Random(5).randbytes(60 * MIB), "config.json": b"{}"}
    repo = hub.add("acme/xet", files, xet=True)
    engine = BucketEngine(hub, bucket, repo.name, xet="on")
    outcome = engine.run()
    assert outcome.done, outcome.messages[-1]
    assert any(request.place == "xorb" for request in hub.requests)
    assert engine.published(outcome) == contents(repo)


def test_a_content_of_another_model_is_copied_by_the_store(hub: Hub, large: Repo, engine: BucketEngine) -> None:
    first = engine.run()
    assert first.done
    engine.publish(first)
    sent = hub.bytes_sent(MODEL)
    other = BucketEngine(hub, engine.place, large.name)
    (message,) = [one for one in first.all(Verified) if one.path == MODEL]
    other.links = {message.sha256: engine.store.copy_of(engine.model_id, MODEL)}
    outcome = other.run()
    assert outcome.done, outcome.messages[-1]
    assert hub.bytes_sent(MODEL) == sent
    assert other.published(outcome) == contents(large)


def test_a_wrong_file_of_a_published_model_is_mended(large: Repo, engine: BucketEngine) -> None:
    outcome = engine.run()
    engine.publish(outcome)
    (key,) = engine.keys(MODEL)
    engine.place.objects.put(f"{engine.place.prefix}/{key}", b"rotten")
    mended = engine.run(mends=True, commit=outcome.last(Resolved).commit)
    assert mended.done, mended.messages[-1]
    engine.mend(mended)
    assert engine.read(mended) == contents(large)


def test_a_server_that_ignores_ranges_fills_no_more_memory(hub: Hub, large: Repo, engine: BucketEngine) -> None:
    hub.misbehave(Fault("ignore_range", path=MODEL, times=None))
    engine.executed = True
    with engine.start() as attempting:
        outcome, memory = with_memory(attempting)
    assert outcome.done, outcome.messages[-1]
    print(f"{memory / MIB:.0f} MiB")
    assert 0 < memory < 250 * MIB
    assert engine.published(outcome) == contents(large)


def test_memory_is_bounded_however_large_the_file(hub: Hub, bucket: Place) -> None:
    size = 640 * MIB
    repo = hub.add("acme/larger", {MODEL: Synthetic(size, 9)})
    engine = BucketEngine(hub, bucket, repo.name)
    engine.executed = True
    with engine.start() as attempting:
        outcome, memory = with_memory(attempting)
    assert outcome.done, outcome.messages[-1]
    print(f"{memory / MIB:.0f} MiB for a file of {size / MIB:.0f}")
    assert 0 < memory < 250 * MIB


def test_huggingface_hub_itself_needs_a_folder_and_says_so(engine: BucketEngine) -> None:
    outcome = engine.run(fetcher="snapshot")
    assert outcome.last(Failure).again
    assert "needs a DEPOT_STORAGE that is a folder" in outcome.text
