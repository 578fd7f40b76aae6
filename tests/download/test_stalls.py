"""A connection is stalled if it sends nothing, or too little over a whole window."""

import pytest

from worker.download.stalls import StallLimit, StallWatch

LIMIT = StallLimit(window=10.0, rate=100.0)


@pytest.mark.parametrize(
    ("count", "seconds", "is_reached"), [(0, 9.9, False), (999, 10.0, True), (1000, 10.0, False), (1000, 20.0, True)]
)
def test_too_few_bytes_over_a_window_reach_the_limit(count: int, seconds: float, is_reached: bool) -> None:
    assert LIMIT.is_reached(count, seconds) is is_reached


def test_a_connection_that_sends_enough_in_each_window_goes_on() -> None:
    watch = StallWatch(LIMIT, 0.0)
    for moment in range(1, 100):
        watch.add(100, moment)
        assert watch.look(moment) is None


def test_a_connection_that_hardly_sends_anything_is_stalled_after_a_window() -> None:
    watch = StallWatch(LIMIT, 0.0)
    watch.add(100_000, 10.0)
    assert watch.look(10.0) is None
    for moment in range(11, 20):
        watch.add(1, moment)
        assert watch.look(moment) is None
    watch.add(1, 20.0)
    assert "hardly" in (watch.look(20.0) or "")


@pytest.mark.parametrize(("window", "patience"), [(10.0, 10.0), (60.0, 15.0)])
def test_silence_is_noticed_before_a_long_window_ends(window: float, patience: float) -> None:
    watch = StallWatch(StallLimit(window, 100.0), 0.0)
    watch.add(1 << 30, 1.0)
    assert watch.look(patience + 0.9) is None
    assert "nothing" in (watch.look(patience + 1.0) or "")
