"""Whether a database has the shape that this version expects: older ones have not, newer ones have."""

import pytest

from app.db.migrate import Revisions, revisions

THESE = Revisions("0003", frozenset({"0001", "0002", "0003"}))


@pytest.mark.parametrize("found", ["0003", "0004", "0123abcd"])
def test_the_expected_one_and_newer_ones_will_do(found: str) -> None:
    assert THESE.judge(found) == ""


@pytest.mark.parametrize(
    ("found", "says"), [(None, "The database has no tables"), ("0001", "The database is at revision 0001")]
)
def test_an_older_one_is_to_be_migrated(found: str | None, says: str) -> None:
    told = THESE.judge(found)
    assert told.startswith(says)
    assert "0003" in told
    assert "`modeldepot migrate`" in told


def test_the_code_knows_its_own_migrations() -> None:
    these = revisions()
    assert {"0001", these.head} <= these.known
