"""A short run of the chaos. A long one is for the hand: see `tests.faults.chaos`."""

from pathlib import Path

import pytest

from tests.faults.chaos import run


@pytest.mark.parametrize(("database", "seed"), [("sqlite", 11), ("postgresql", 12)])
def test_nothing_is_lost_and_nothing_happens_twice_while_everything_is_killed(
    database: str, seed: int, tmp_path: Path
) -> None:
    verdict = run(database, seconds=15, every=1.5, seed=seed, folder=tmp_path)
    print(verdict.summary)
    assert verdict.broken == [], verdict.summary
