"""A short run of the chaos. For a long one, set CHAOS_SECONDS to 600, or see `tests.faults.chaos`."""

import os
from pathlib import Path

import pytest

from tests.faults.bucket_chaos import BucketChaos
from tests.faults.chaos import Chaos, run

SECONDS = float(os.environ.get("CHAOS_SECONDS", "15"))


@pytest.mark.parametrize(
    ("database", "seed", "kind"),
    [
        pytest.param("sqlite", 11, Chaos, id="sqlite"),
        pytest.param("postgresql", 12, Chaos, id="postgresql"),
        pytest.param("postgresql", 13, BucketChaos, id="bucket", marks=pytest.mark.nightly),
    ],
)
def test_nothing_is_lost_and_nothing_happens_twice_while_everything_is_killed(
    database: str, seed: int, kind: type[Chaos], tmp_path: Path
) -> None:
    verdict = run(database, seconds=SECONDS, every=1.5, seed=seed, folder=tmp_path, kind=kind)
    print(verdict.summary)
    assert verdict.broken == [], verdict.summary
