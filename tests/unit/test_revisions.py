"""Whether this version works with the shape that a database has: older ones are migrated, newer ones tell."""

import pytest
from alembic.script import ScriptDirectory

from app.db.migrate import configuration
from app.db.revisions import Revisions, Shape, revisions

THESE = Revisions("0003", frozenset({"0001", "0002", "0003"}))


@pytest.mark.parametrize("found", [Shape("0003", None), Shape("0004", "0002"), Shape("0123abcd", "0003")])
def test_the_expected_one_and_newer_ones_that_older_code_works_with_will_do(found: Shape) -> None:
    assert THESE.judge(found) == ""


@pytest.mark.parametrize("found", [Shape("0005", "0004"), Shape("0004", None)])
def test_a_newer_one_that_only_newer_code_works_with_is_left_to_that(found: Shape) -> None:
    told = THESE.judge(found)
    assert "versions from revision 0004 on" in told
    assert "back-up" in told


@pytest.mark.parametrize(
    ("found", "says"), [(None, "The database has no tables"), ("0001", "The database is at revision 0001")]
)
def test_an_older_one_is_to_be_migrated(found: str | None, says: str) -> None:
    told = THESE.judge(Shape(found, None))
    assert told.startswith(says)
    assert "0003" in told
    assert "`modeldepot migrate`" in told


def test_the_code_knows_its_own_migrations() -> None:
    alembic = ScriptDirectory.from_config(configuration("sqlite://"))
    all_of_them = frozenset(each.revision for each in alembic.walk_revisions())
    assert revisions() == Revisions(str(alembic.get_current_head()), all_of_them)
