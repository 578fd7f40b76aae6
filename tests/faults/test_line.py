"""What goes wrong on the line: retried while that helps, then ended with the contract's reason."""

import gzip
import time
from pathlib import Path

import pytest

from tests.fakehub.hub import Fault, Hub, Repo
from tests.faults.conftest import LARGE, contents, published
from tests.faults.engine import UNDER_WAY, Engine
from worker.download.protocol import Failure

MODEL = "model.safetensors"
LARGE_FILES = "*.safetensors"
PAGE = b"<!doctype html><title>Blocked</title>" * 20
HTML = {"Content-Type": "text/html; charset=utf-8"}
GZIPPED = {"Content-Encoding": "gzip"}


@pytest.mark.parametrize(
    "fault",
    [
        Fault("drop", path=MODEL, after_bytes=5 << 20),
        Fault("drop", path=MODEL, after_bytes=None, times=3),
        Fault("reset", path=MODEL, after_bytes=5 << 20),
        Fault("reset", path=MODEL, after_bytes=None),
        Fault("stall", path=MODEL, after_bytes=1 << 20),
        Fault("trickle", path=MODEL, after_bytes=1 << 20, rate=10),
        Fault("status", path=MODEL, status=500, times=2),
        Fault("status", path=MODEL, status=502),
        Fault("status", path=MODEL, status=503, times=3),
        Fault("status", path=MODEL, status=504),
        Fault("status", path=MODEL, status=408),
        Fault("status", path=MODEL, status=429, retry_after=1),
        Fault("status", path="config.json", status=503, times=2),
        Fault("drop", path="folder/vocabulary.txt", after_bytes=100),
        Fault("stall", path="folder/vocabulary.txt", after_bytes=100),
        Fault("ignore_range", path=MODEL, times=None),
        Fault("ignore_range", path=MODEL, times=1),
        Fault("corrupt", path=MODEL, after_bytes=1000),
        Fault("corrupt", path="config.json", after_bytes=3),
        Fault("short", path=MODEL, by=1000, honest=False),
        Fault("short", path="folder/vocabulary.txt", by=10, honest=False),
        Fault("long", path="folder/vocabulary.txt", by=10, honest=True),
        Fault("redirect_loop", path=MODEL, times=1),
        Fault("rewrite", path="config.json", rewrite=gzip.compress, headers=GZIPPED, times=None),
        Fault("rewrite", path="folder/vocabulary.txt", rewrite=gzip.compress, headers=GZIPPED, times=None),
        Fault("rewrite", path=MODEL, rewrite=lambda _: PAGE, headers=HTML),
        Fault("rewrite", path="config.json", rewrite=lambda _: PAGE, headers=HTML),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status if fault.kind == 'status' else fault.after_bytes}-{fault.path}",
)
def test_what_passes_is_survived_within_the_attempt(hub: Hub, repo: Repo, engine: Engine, fault: Fault) -> None:
    hub.misbehave(fault)
    outcome = engine.run()
    assert outcome.done, outcome.messages[-1]
    assert any(request.fault == fault.kind for request in hub.requests), "the fault never struck"
    assert published(engine) == contents(repo)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault("drop", path=LARGE_FILES, after_bytes=None, times=None), "unavailable"),
        (Fault("reset", path=LARGE_FILES, after_bytes=None, times=None), "unavailable"),
        (Fault("stall", path=LARGE_FILES, after_bytes=0, times=None), "unavailable"),
        (Fault("trickle", path=LARGE_FILES, after_bytes=0, rate=1, times=None), "unavailable"),
        (Fault("status", path=LARGE_FILES, status=500, times=None), "unavailable"),
        (Fault("status", path=LARGE_FILES, status=503, times=None), "unavailable"),
        (Fault("status", path="config.json", status=502, times=None), "unavailable"),
        (Fault("status", path=LARGE_FILES, status=429, times=None), "busy"),
        (Fault("redirect_loop", path=LARGE_FILES, times=None), "unavailable"),
        (Fault("rewrite", path=LARGE_FILES, rewrite=lambda _: PAGE, headers=HTML, times=None), "unavailable"),
        (Fault("rewrite", path="config.json", rewrite=lambda _: PAGE, headers=HTML, times=None), "unavailable"),
        (Fault("status", on="auth", status=503, times=None), "unavailable"),
        (Fault("status", on="revision", status=500, times=None), "unavailable"),
        (Fault("status", on="revision", status=429, retry_after=7, times=None), "busy"),
        (Fault("drop", on="revision", after_bytes=None, times=None), "unavailable"),
    ],
    ids=lambda value: f"{value.kind}-{value.on}-{value.path}-{value.status}" if isinstance(value, Fault) else value,
)
def test_what_does_not_pass_ends_the_attempt_with_its_reason_and_a_later_one_completes(
    hub: Hub, repo: Repo, engine: Engine, fault: Fault, reason: str
) -> None:
    hub.misbehave(fault)
    outcome = engine.run()
    failed = outcome.last(Failure)
    assert (failed.reason, failed.again) == (reason, True), outcome.text
    if fault.retry_after is not None:
        assert failed.after == fault.retry_after
    assert not engine.storage.layout.published(engine.model_id).exists()
    hub.behave()
    outcome = engine.run()
    assert outcome.done, outcome.messages[-1]
    assert published(engine) == contents(repo)


@pytest.mark.parametrize("kind", ["corrupt", "lie_checksum", "lie_size"])
def test_what_never_matches_the_manifest_is_partial_and_is_not_kept(
    hub: Hub, repo: Repo, engine: Engine, kind: str
) -> None:
    hub.misbehave(Fault(kind, path=MODEL, after_bytes=2000, times=None))  # type: ignore[arg-type]
    outcome = engine.run()
    failed = outcome.last(Failure)
    assert (failed.reason, failed.again) == ("partial", False), outcome.text
    assert MODEL in outcome.text
    assert not (engine.tree / MODEL).exists()
    assert list((engine.scratch / "parts").iterdir()) == []
    hub.behave()
    outcome = engine.run()
    assert outcome.done, outcome.messages[-1]
    assert published(engine) == contents(repo)


def test_a_link_that_expires_in_the_middle_is_asked_for_anew_and_costs_nothing_twice(
    hub: Hub, repo: Repo, engine: Engine
) -> None:
    hub.misbehave(Fault("drop", path=MODEL, after_bytes=5 << 20), Fault("expired", path=MODEL, after_bytes=2 << 20))
    assert engine.run().done
    assert any(request.fault == "expired" for request in hub.requests)
    assert published(engine) == contents(repo)
    assert 0 <= hub.bytes_sent(MODEL) - LARGE <= UNDER_WAY


def test_waits_as_long_as_the_hub_asks(hub: Hub, engine: Engine) -> None:
    hub.misbehave(Fault("status", path="config.json", status=429, retry_after=2))
    began = time.monotonic()
    assert engine.run().done
    assert time.monotonic() - began >= 2


def test_the_token_goes_to_the_hub_and_never_to_the_cdn(hub: Hub, repo: Repo, engine: Engine) -> None:
    repo.gated = True
    hub.account("hf_planted", accepted=[repo.name])
    assert engine.run(token="hf_planted").done
    on_cdn = [request for request in hub.requests if request.origin == "cdn"]
    assert on_cdn
    assert all("authorization" not in {name.lower() for name in request.headers} for request in on_cdn)
    at_the_hub = [request for request in hub.requests if request.origin == "hub" and request.place == "file"]
    assert all("authorization" in {name.lower() for name in request.headers} for request in at_the_hub)


def test_a_large_file_that_comes_compressed_all_the_same_is_decoded(hub: Hub, repo: Repo, engine: Engine) -> None:
    """A range of what the server made of the file is of no use: it is fetched from its beginning to its end."""
    hub.misbehave(
        Fault("rewrite", path="second.safetensors", rewrite=gzip.compress, headers=GZIPPED, times=None),
    )
    outcome = engine.run(stall_window=15.0)  # compressing takes the server a while
    assert outcome.done, outcome.messages[-1]
    assert published(engine) == contents(repo)


def test_a_page_in_place_of_a_file_is_told_as_what_it_is(hub: Hub, engine: Engine) -> None:
    hub.misbehave(Fault("rewrite", path="config.json", rewrite=lambda _: PAGE, headers=HTML, times=None))
    assert "web page" in engine.run().text


def test_a_file_that_is_a_page_is_fetched(hub: Hub, tmp_path: Path) -> None:
    repo = hub.add("acme/pages", {"index.html": PAGE, "config.json": b"{}"})
    hub.misbehave(Fault("rewrite", path="index.html", headers=HTML, times=None))
    engine = Engine(hub, tmp_path / "storage", repo.name)
    assert engine.run().done
    assert published(engine) == contents(repo)
