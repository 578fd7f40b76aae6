"""A Hub that serves few transfers at a time and refuses the others: who is refused waits while others make progress."""

from pathlib import Path

import pytest

from tests.fakehub.hub import Fault, Hub, Repo, Synthetic
from tests.faults.conftest import NAME, contents, published
from tests.faults.engine import UNDER_WAY, Engine
from worker.download.protocol import Planned

MIB = 1 << 20


pytestmark = pytest.mark.usefixtures("repo")


@pytest.fixture
def repo(hub: Hub) -> Repo:
    files = {"a.bin": Synthetic(20 * MIB, 1), "b.bin": Synthetic(20 * MIB, 2)}
    return hub.add(NAME, files | {f"{number}.json": b"{}" * number for number in range(5)})


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("at_once", [1, 2])
def test_a_hub_that_serves_few_at_a_time_is_served_with_as_few_and_nothing_comes_twice(
    hub: Hub, repo: Repo, engine: Engine, status: int, at_once: int
) -> None:
    hub.most_transfers, hub.when_crowded = at_once, status
    hub.rate = 10 * MIB
    outcome = engine.run(backoff=0.5)
    assert outcome.done, outcome.messages[-1]
    assert published(engine) == contents(repo)
    refused = [request for request in hub.requests if request.status == status]
    assert 0 < len(refused) < 20
    assert 0 <= hub.bytes_sent() - sum(map(len, contents(repo).values())) <= UNDER_WAY


def test_a_hub_that_refuses_all_is_not_asked_more_and_more(hub: Hub, engine: Engine) -> None:
    hub.misbehave(Fault("status", path="*", status=429, times=None))
    outcome = engine.run()
    assert outcome.reason == "busy"
    assert len([request for request in hub.requests if request.status == 429]) < 30


def test_an_attempt_that_fails_keeps_every_byte_that_has_arrived(hub: Hub, tmp_path: Path) -> None:
    engine = Engine(hub, tmp_path / "kept", NAME)
    hub.misbehave(
        Fault("stall", path="a.bin", after_bytes=3 * MIB, times=None),
        Fault("status", path="b.bin", status=404, skip=1, times=None),
    )
    with engine.start(connections=2, stall_window=3) as attempting:
        outcome = attempting.outcome()
    assert outcome.reason == "unavailable"
    hub.behave()
    hub.forget()
    resumed = engine.run()
    assert resumed.done
    assert 0 <= hub.bytes_sent() - resumed.last(Planned).missing <= UNDER_WAY
    assert resumed.last(Planned).missing <= 40 * MIB - 8 * MIB - 3 * MIB
