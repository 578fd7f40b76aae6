"""A Hub whose API fails, whichever call it is: noticed in time, and told with the contract's reason."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

from tests.fakehub.exchange import Place
from tests.fakehub.hub import Fault, FaultKind, Hub, Repo, Synthetic
from tests.faults.conftest import contents, published
from tests.faults.engine import Engine, Outcome
from worker.download.protocol import Failure

CALLS: tuple[Place, ...] = ("auth", "revision", "tree", "redirect", "file")
SECRET = "hf_planted"


def test_a_hub_that_fails_at_one_call_is_noticed_in_time_and_a_retry_completes(hub: Hub, tmp_path: Path) -> None:
    faults = [_fault("stall", on) for on in CALLS]
    # The answers to the other calls are too short to be slow.
    faults += [_fault("trickle", on) for on in ("revision", "tree", "file")]
    faults += [_fault("redirect_loop", on) for on in ("auth", "revision", "redirect")]
    faults += [_fault("drop", on) for on in ("auth", "revision")]
    for fault, (engine, outcome, seconds) in zip(faults, _run(hub, tmp_path, faults), strict=True):
        failed = outcome.last(Failure)
        assert (failed.reason, failed.again) == ("unavailable", True), (fault, outcome.text)
        # Stalled after a second each time; a listing is asked for six times, with 23 seconds of pauses between them.
        assert seconds < 120, fault
        assert SECRET not in str(outcome.messages)
        assert not engine.storage.layout.published(engine.model_id).exists()
    hub.behave()
    name = faults[0].repo or ""
    engine = Engine(hub, tmp_path, name)
    assert engine.run().done
    assert published(engine) == contents(hub.repos["models", name])


def test_what_the_hub_says_of_a_revision_has_its_reason(hub: Hub, tmp_path: Path) -> None:
    expected = [
        (401, {}, "forbidden", False, None),
        (403, {}, "forbidden", False, None),
        (403, {"X-Error-Code": "GatedRepo"}, "forbidden", False, None),
        (404, {}, "not-found", False, None),
        (404, {"X-Error-Code": "RepoNotFound"}, "not-found", False, None),
        (404, {"X-Error-Code": "RevisionNotFound"}, "not-found", False, None),
        (408, {}, "unavailable", True, None),
        (418, {}, "unknown", False, None),
        (429, {"Retry-After": "11"}, "busy", True, 11),
        (429, {"RateLimit": '"api";r=0;t=12'}, "busy", True, 12),
        (500, {}, "unavailable", True, None),
        (502, {}, "unavailable", True, None),
        (503, {"Retry-After": "13"}, "unavailable", True, 13),
        (504, {}, "unavailable", True, None),
    ]
    faults = [
        Fault("status", on="revision", repo=f"acme/{number}", status=status, headers=headers, times=None)
        for number, (status, headers, *_) in enumerate(expected)
    ]
    for (status, headers, *told), (_, outcome, _) in zip(expected, _run(hub, tmp_path, faults), strict=True):
        failed = outcome.last(Failure)
        assert [failed.reason, failed.again, failed.after] == told, (status, headers, outcome.text)
        assert SECRET not in str(outcome.messages)


def test_a_wait_may_be_asked_for_as_a_date(hub: Hub, engine: Engine) -> None:
    until = datetime.now(UTC) + timedelta(seconds=600)
    hub.misbehave(
        Fault("status", on="revision", status=503, headers={"Retry-After": format_datetime(until, usegmt=True)})
    )
    assert 500 < (engine.run().last(Failure).after or 0) <= 600
    for wait, seconds in (("soon", None), ("²", None), ("Thu, 01 Jan 1970 00:00:00 -0000", 0), ("", None)):
        hub.misbehave(Fault("status", on="revision", status=503, headers={"Retry-After": wait}))
        assert engine.run().last(Failure).after == seconds


def test_a_tree_that_fails_now_and_then_is_asked_for_again(hub: Hub, repo: Repo, engine: Engine) -> None:
    hub.misbehave(Fault("status", on="tree", status=503, times=2))
    assert engine.run().done
    assert published(engine) == contents(repo)


def _run(hub: Hub, folder: Path, faults: list[Fault]) -> list[tuple[Engine, Outcome, float]]:
    """Each fault befalls a repository of its own; all downloads at once, for they mostly wait. With their seconds."""
    hub.account(SECRET)
    engines = []
    for fault in faults:
        assert fault.repo
        hub.add(fault.repo, {"model.safetensors": Synthetic(2 << 20, 1), "config.json": b"{}" * 50})
        engines.append(Engine(hub, folder, fault.repo, token=SECRET))
    hub.misbehave(*faults)

    def run(engine: Engine) -> tuple[Engine, Outcome, float]:
        began = time.monotonic()
        outcome = engine.run()
        return engine, outcome, time.monotonic() - began

    with ThreadPoolExecutor(len(engines)) as pool:
        return list(pool.map(run, engines))


def _fault(kind: FaultKind, on: Place) -> Fault:
    after = None if kind == "stall" else 0
    return Fault(kind, on=on, repo=f"acme/{kind}-{on}", times=None, after_bytes=after, rate=5)
