"""Over Xet or over plain HTTP: what fails is given up, and of two that work the faster one is taken."""

import pytest
from structlog.testing import capture_logs

from worker.download.ways import Ways

MIB = 1 << 20


def _fetch(ways: Ways, xet_rate: int, plain_rate: int, left: int) -> list[bool]:
    """Whether each tenth of a second was over Xet, until all is there."""
    moment, count, over_xet = 0.0, 0, []
    while left > 0 and moment < 1000:
        ways.look(moment, count, left)
        over_xet.append(ways.xet)
        came = (xet_rate if ways.xet else plain_rate) // 10
        moment, count, left = moment + 0.1, count + came, left - came
    return over_xet


@pytest.mark.parametrize(("xet_rate", "plain_rate", "over_xet"), [(10, 30, False), (30, 10, True), (10, 10, True)])
def test_auto_tries_both_and_stays_with_the_faster_one(xet_rate: int, plain_rate: int, over_xet: bool) -> None:
    with capture_logs() as logs:
        taken = _fetch(Ways("auto", 0.0), xet_rate * MIB, plain_rate * MIB, 2000 * MIB)
    assert set(taken) == {True, False}
    assert taken[0]
    assert set(taken[100:]) == {over_xet}
    assert [line["way"] for line in logs] == ["xet" if over_xet else "plain http"]


def test_what_is_there_soon_is_not_worth_a_try() -> None:
    assert set(_fetch(Ways("auto", 0.0), 10 * MIB, 30 * MIB, 150 * MIB)) == {True}


@pytest.mark.parametrize(("mode", "over_xet"), [("on", True), ("off", False)])
def test_who_says_so_has_one_way_only(mode: str, over_xet: bool) -> None:
    assert set(_fetch(Ways(mode, 0.0), 10 * MIB, 10 * MIB, 2000 * MIB)) == {over_xet}


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_xet_is_given_up_for_good_and_once(mode: str) -> None:
    ways = Ways(mode, 0.0)
    with capture_logs() as logs:
        for _ in range(3):
            ways.give_up("always")
    assert [line["why"] for line in logs] == ["always"]
    assert set(_fetch(ways, 10 * MIB, 10 * MIB, 2000 * MIB)) == {False}
