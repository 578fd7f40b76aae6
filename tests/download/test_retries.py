"""A request is repeated after longer and longer pauses, and given up only when nothing at all gets on."""

import pytest

from app.domain.errors import Reason
from worker.download.answers import Trouble
from worker.download.retries import Retries, RetryPolicy

POLICY = RetryPolicy(backoff=1.0, limit=4, doublings=2)
AWAY = Trouble(Reason.UNAVAILABLE, "away")


def _fail(retries: Retries, *, fetched: int = 0) -> float:
    """Fail at moment 10; return the seconds to wait."""
    retries.failed(AWAY, 10.0, fetched=fetched, progress=100)
    return retries.due - 10.0


def test_pauses_double_up_to_a_limit_and_begin_anew_with_bytes() -> None:
    retries = Retries(POLICY)
    assert [_fail(retries) for _ in range(4)] == [1.0, 2.0, 4.0, 4.0]
    retries.received()
    assert _fail(retries) == 1.0


def test_the_servers_own_pause_counts() -> None:
    retries = Retries(POLICY)
    retries.failed(Trouble(Reason.BUSY, "later", after=7.0, crowded=True), 10.0, fetched=0, progress=100)
    assert (retries.due, retries.is_crowded, retries.error().after) == (17.0, True, 7.0)


def test_failures_without_progress_exhaust_it() -> None:
    retries, exhausted = Retries(POLICY), list[bool]()
    for _ in range(4):
        _fail(retries)
        exhausted.append(retries.is_exhausted)
    assert exhausted == [False, False, False, True]
    assert retries.error().message == "away"


@pytest.mark.parametrize(("step", "is_exhausted"), [(99, True), (100, False)])
def test_progress_of_any_request_counts_if_it_is_enough(step: int, is_exhausted: bool) -> None:
    retries = Retries(POLICY)
    for failure in range(20):
        _fail(retries, fetched=failure * step)
    assert retries.is_exhausted is is_exhausted
