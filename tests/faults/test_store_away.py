"""An object store that refuses, stalls, or is away: it is not taken for the Hub, and what was sent is not sent again."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from app.storage.s3 import client, objects
from tests.buckets import BUCKET, Place
from tests.fakehub.hub import Hub, Repo, Synthetic
from tests.faults.bucketed import BucketEngine
from tests.faults.conftest import contents
from tests.faults.storefront import Storefront, Trouble
from tests.processes import BUSY
from worker.download.protocol import Failure, Message, Progress

MIB = 1 << 20
PART = 8 * MIB
SIZE = 96 * MIB
MODEL = "model.safetensors"


@pytest.fixture
def repo(hub: Hub) -> Repo:
    return hub.add("acme/model", {MODEL: Synthetic(SIZE, 5), "config.json": b"{}", "words.txt": b"word\n" * 1000})


@pytest.fixture
def front(bucket: Place) -> Iterator[Storefront]:
    with Storefront(bucket.server.port) as front:
        yield front


@pytest.fixture
def engine(hub: Hub, repo: Repo, bucket: Place, front: Storefront) -> BucketEngine:
    return BucketEngine(hub, bucket, repo.name, endpoint=front.endpoint)


@pytest.mark.parametrize(
    "trouble",
    [
        Trouble("part", "status", status=503, code="SlowDown", times=3, skip=2),
        Trouble("part", "status", status=500, code="InternalError", times=2),
        Trouble("part", "reset", times=2, skip=1),
        Trouble("part", "lose", times=2),
        Trouble("begin", "lose"),
        Trouble("put", "lose", times=2),
        Trouble("complete", "status", status=503, code="SlowDown"),
        Trouble("complete", "lose"),
    ],
    ids=lambda trouble: f"{trouble.operation}-{trouble.kind}-{trouble.status if trouble.kind == 'status' else ''}",
)
def test_what_passes_costs_the_hub_nothing(
    hub: Hub, repo: Repo, front: Storefront, engine: BucketEngine, trouble: Trouble
) -> None:
    front.misbehave(trouble)
    outcome = engine.run()
    assert trouble.times == 0, "the trouble never struck"
    assert outcome.done, outcome.messages[-1]
    assert hub.bytes_sent(MODEL) == SIZE
    assert engine.published(outcome) == contents(repo)
    assert engine.arriving() == []


def test_a_store_that_is_away_is_waited_for(hub: Hub, repo: Repo, front: Storefront, engine: BucketEngine) -> None:
    def half(message: Message) -> bool:
        return isinstance(message, Progress) and message.downloaded > SIZE // 2

    hub.total_rate = 20 * MIB
    with engine.start() as attempting:
        attempting.outcome(half)
        front.is_down = True
        outcome = attempting.outcome()
    failure = outcome.last(Failure)
    assert (failure.reason, failure.again, failure.waits) == ("fault", True, True), failure
    assert failure.after
    assert "object store" in failure.message
    assert "Hub" not in failure.message
    front.is_down, hub.total_rate = False, None
    resumed = engine.run()
    assert resumed.done, resumed.messages[-1]
    assert hub.bytes_sent(MODEL) - SIZE <= 8 * PART
    assert engine.published(resumed) == contents(repo)


@pytest.mark.parametrize(
    ("trouble", "said", "again"),
    [
        (Trouble("part", "status", status=503, code="SlowDown", times=None, skip=2), "SlowDown", True),
        (Trouble("part", "status", status=507, code="XMinioStorageFull", times=None), "full", False),
        (Trouble("part", "status", status=403, code="QuotaExceeded", times=None, skip=2), "full", False),
        (Trouble("put", "status", status=507, code="InsufficientStorage", times=None), "full", False),
        (Trouble("part", "status", status=500, code="InternalError", times=None, skip=2), "may be full", False),
        (Trouble("part", "status", status=403, code="ExpiredToken", times=None, skip=2), "DEPOT_S3_ACCESS_KEY", False),
        (Trouble("put", "status", status=403, code="AccessDenied", times=None, skip=1), "DEPOT_S3_ACCESS_KEY", False),
    ],
    ids=["slow-down", "full", "quota", "full-at-once", "always-500", "expired", "denied"],
)
def test_what_does_not_pass_is_told(
    repo: Repo, front: Storefront, engine: BucketEngine, trouble: Trouble, said: str, again: bool
) -> None:
    front.misbehave(trouble)
    outcome = engine.run()
    failure = outcome.last(Failure)
    assert failure.reason == "fault"
    assert said in failure.message
    assert (failure.again, failure.waits) == (again, again), failure.message
    for secret in (engine.place.server.options.secret_key, "Signature"):
        assert secret not in failure.message
    front.behave()
    outcome = engine.run()
    assert outcome.done, outcome.messages[-1]
    assert engine.published(outcome) == contents(repo)


@pytest.mark.parametrize("kind", ["stall", "slow"])
def test_a_send_that_does_not_move_is_sent_again(
    bucket: Place, front: Storefront, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(client, "_CONNECT", 4.0)
    for name, value in {"READ": 4.0, "_WINDOW": 2.0, "_SLOWEST": MIB}.items():
        monkeypatch.setattr(objects, name, value)
    store = objects.Objects(BUCKET, replace(bucket.server.options, endpoint=front.endpoint))
    trouble = Trouble("put", kind, rate=MIB >> 3)  # type: ignore[arg-type]
    front.misbehave(trouble)
    data = bytes(range(256)) * (128 << 10)
    began = time.monotonic()
    store.put(f"{bucket.prefix}/part", data)
    assert trouble.times == 0, "the trouble never struck"
    # At that rate it would take minutes, of which the system's buffers spare some.
    assert time.monotonic() - began < 20 + BUSY
    assert store.get(f"{bucket.prefix}/part") == data
