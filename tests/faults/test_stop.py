"""A download whose worker is gone, or no longer holds the lease, ends at once: also when the server stalls."""

import signal
import time
from pathlib import Path

import pytest

from tests.fakehub.hub import Fault, Hub, Repo
from tests.faults.conftest import contents, published
from tests.faults.engine import Attempting, Engine
from tests.processes import BUSY
from worker.download.protocol import Failure, Planned

STALLED = Fault("stall", path="model.safetensors", after_bytes=3 << 20, times=None)


def _begin(hub: Hub, attempting: Attempting) -> None:
    """Until a large file comes, or no longer comes."""
    attempting.outcome(lambda message: isinstance(message, Planned))
    assert hub.wait(lambda: hub.bytes_sent("model.safetensors") >= 3 << 20)


def _sizes(folder: Path) -> dict[str, tuple[int, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_blocks, path.stat().st_mtime_ns) for path in files}


@pytest.mark.parametrize("how", ["stdin closes", "SIGTERM"])
@pytest.mark.parametrize("stalled", [False, True], ids=["running", "stalled"])
def test_a_download_without_its_worker_ends_within_two_seconds_and_writes_no_more(
    hub: Hub, repo: Repo, engine: Engine, how: str, stalled: bool
) -> None:
    if stalled:
        hub.misbehave(STALLED)
    else:
        hub.rate = 1 << 20
    with engine.start(stall_window=60) as attempting:
        _begin(hub, attempting)
        began = time.monotonic()
        if how == "SIGTERM":
            attempting.process.send_signal(signal.SIGTERM)
        else:
            assert attempting.process.stdin
            attempting.process.stdin.close()
        attempting.process.wait(timeout=60)
        # Two seconds, and what a busy machine adds; a stalled one would wait for a minute.
        assert time.monotonic() - began < 2 + BUSY
    left = _sizes(engine.storage.layout.root)
    hub.behave()
    hub.rate = None
    assert _sizes(engine.storage.layout.root) == left
    assert engine.run().done
    assert published(engine) == contents(repo)


def test_a_download_ends_when_no_beat_came_for_nearly_as_long_as_its_lease_lasts(
    hub: Hub, repo: Repo, engine: Engine
) -> None:
    hub.misbehave(STALLED)
    lease = 3.0
    with engine.start(lease=lease, stall_window=60) as attempting:
        _begin(hub, attempting)
        kept_until = time.monotonic() + 2 * lease
        while time.monotonic() < kept_until:
            attempting.beat()
            assert not hub.wait(lambda: attempting.process.poll() is not None, seconds=lease / 6), "it had its lease"
        last = time.monotonic()
        attempting.process.wait(timeout=60)
        passed = time.monotonic() - last
    assert 0.9 * lease - lease / 6 - 0.1 <= passed <= lease + BUSY
    hub.behave()
    assert engine.run().done
    assert published(engine) == contents(repo)


def test_two_downloads_of_one_model_do_not_write_side_by_side(hub: Hub, repo: Repo, engine: Engine) -> None:
    hub.misbehave(STALLED)
    with engine.start(stall_window=60) as first:
        _begin(hub, first)
        outcome = engine.run()
        assert (outcome.reason, outcome.last(Failure).again) == ("fault", True)
        assert "still stopping" in outcome.text
    hub.behave()
    assert engine.run().done
    assert published(engine) == contents(repo)
