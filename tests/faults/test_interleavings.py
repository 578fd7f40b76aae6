"""Whatever goes wrong in whatever order: what is published is what the Hub has, or nothing is, and there is a reason."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakehub.certificates import Certificates
from tests.fakehub.hub import Fault, Files, Hub, Repo, Synthetic
from tests.faults.conftest import contents, published
from tests.faults.engine import Engine, Outcome
from worker.download.protocol import Planned

MIB = 1 << 20
NAME = "acme/model"
FILES: Files = {
    "model.safetensors": Synthetic(37 * MIB + 5, 1),
    "twin.safetensors": Synthetic(37 * MIB + 5, 1),
    "large.txt": Synthetic(2 * MIB, 2),
    "folder/config.json": b'{"kind": "test"}' * 100,
    "empty": b"",
}
REASONS = {"unavailable", "partial", "busy"}
KINDS = st.sampled_from(
    ["drop", "reset", "corrupt", "short", "long", "ignore_range", "expired", "stall", "status", "redirect_loop"]
)
FAULTS = st.builds(
    Fault,
    kind=KINDS,
    path=st.sampled_from([None, "model.safetensors", "*.txt", "folder/*"]),
    times=st.sampled_from([1, 2, 7, None]),
    skip=st.integers(0, 2),
    after_bytes=st.integers(0, 9 * MIB),
    by=st.integers(1, 2 * MIB),
    honest=st.booleans(),
    status=st.sampled_from([403, 429, 500, 503]),
)
ATTEMPTS = st.lists(
    st.tuples(st.lists(FAULTS, max_size=3), st.none() | st.integers(0, 30 * MIB), st.booleans()), min_size=1, max_size=3
)
"""Of each: the faults, after how many bytes it is killed, and whether a byte of what it left rots."""


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck), database=None, print_blob=True)
@given(attempts=ATTEMPTS)
def test_it_ends_in_the_very_same_bytes_or_in_an_error_with_a_reason(
    certificates: Certificates,
    attempts: list[tuple[list[Fault], int | None, bool]],
) -> None:
    with Hub(certificates=certificates) as hub, TemporaryDirectory() as folder:
        repo = hub.add(NAME, FILES)
        engine = Engine(hub, Path(folder), NAME)
        for faults, killed_after, rots in attempts:
            # Links to the CDN answer 403 as well; the Hub's own 403 is not something that passes.
            hub.misbehave(*(replace(fault, on="cdn") if fault.status == 403 else fault for fault in faults))
            _judge(engine, repo, _attempt(hub, engine, killed_after), killed=killed_after is not None)
            hub.behave()
            if rots:
                _rot(engine.arrived())
        outcome = engine.run()
        assert outcome.done, outcome.messages[-1]
        assert published(engine) == contents(repo)


def _attempt(hub: Hub, engine: Engine, killed_after: int | None) -> Outcome:
    if killed_after is None:
        return engine.run()
    before = hub.bytes_sent()
    with engine.start() as attempting:
        outcome = attempting.outcome(lambda message: isinstance(message, Planned))
        if isinstance(outcome.messages[-1], Planned):
            hub.wait(lambda: hub.bytes_sent() - before >= killed_after, seconds=1)
    return outcome


def _judge(engine: Engine, repo: Repo, outcome: Outcome, *, killed: bool) -> None:
    """Nothing wrong is in the tree, and an attempt that ended by itself has a reason or the very bytes."""
    if outcome.done:
        assert published(engine) == contents(repo)
    elif not killed:
        assert outcome.reason in REASONS, outcome.text
        assert outcome.text
    assert engine.storage.layout.published(engine.model_id).exists() == outcome.done


def _rot(arrived: list[Path]) -> None:
    """One byte of the largest file that is there becomes another one."""
    files = [path for path in arrived if path.suffix != ".steps"]
    largest = max(files, key=lambda path: path.stat().st_size, default=None)
    if largest is None or not largest.stat().st_size:
        return
    largest.chmod(0o644)
    with largest.open("r+b") as file:
        file.seek(largest.stat().st_size // 3)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 0xFF]))
