"""The limit on bandwidth, with many threads at once."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.processes import BUSY
from worker.download.throttle import Throttle


@pytest.mark.parametrize("threads", [1, 8])
def test_bytes_are_paid_for_in_time(threads: int) -> None:
    limit, block = 1_000_000, 25_000
    throttle = Throttle(lambda: limit)
    began = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(throttle, [block] * 64))
    passed = time.monotonic() - began
    # A burst of a fifth of a second comes free. A busy machine is slower than the limit, never faster.
    assert 64 * block / limit - 0.21 <= passed <= 64 * block / limit + BUSY


def test_without_a_limit_nobody_waits() -> None:
    throttle = Throttle(lambda: 0)
    began = time.monotonic()
    for _ in range(1000):
        throttle(1 << 30)
    assert time.monotonic() - began < BUSY


def test_a_limit_that_changes_holds_from_the_next_bytes_on() -> None:
    limits = [10**9]
    throttle = Throttle(lambda: limits[0])
    throttle(1000)
    limits[0] = 10_000
    began = time.monotonic()
    throttle(6000)
    assert time.monotonic() - began >= 0.35
