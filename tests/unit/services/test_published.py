"""Which models answer for a revision, and by which commit they are known."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from app.db.session import Database
from app.domain.errors import Reason
from app.domain.keys import UNLIMITED
from app.domain.repositories import select
from app.domain.states import ModelStatus
from app.services import published
from app.services.published import branches, default, snapshot
from app.services.rows import NamedModel
from tests import by_hand

_ONE, _TWO = "1" * 40, "2" * 40


@dataclass
class _Row:
    """A model's row."""

    commit: str | None
    revision: str
    include: Sequence[str]
    exclude: Sequence[str]
    status: ModelStatus
    fingerprint: str
    id: UUID = field(default_factory=uuid4)
    name: str = "acme/tiny"
    downloaded: int | None = None
    total: int | None = None
    reason: Reason | None = None
    message: str | None = None
    created_at: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    updated_at: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    follows: str | None = None


def _row(
    commit: str | None = _ONE,
    revision: str = "main",
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    status: ModelStatus = ModelStatus.READY,
) -> NamedModel:
    fingerprint = select("acme/tiny", revision, include, exclude).fingerprint
    return _Row(commit, revision, include, exclude, status, fingerprint)


def _derived(*rows: NamedModel) -> str:
    words = [str(rows[0].commit), *sorted(row.fingerprint for row in rows)]
    return hashlib.sha1("".join(words).encode(), usedforsecurity=False).hexdigest()


def test_a_whole_repository_is_known_by_the_hub_s_commit() -> None:
    whole = _row()
    for revision in ("main", _ONE):
        found = snapshot([whole], revision)
        assert found is not None
        assert (found.models, found.commit, found.true_commit, found.whole) == ((whole,), _ONE, _ONE, True)
    for revision in ("other", _TWO, "", _ONE[:-1]):
        assert snapshot([whole], revision) is None


def test_a_selection_has_a_commit_of_its_own_and_is_found_by_the_hub_s_too() -> None:
    for part in (_row(include=("*.json",)), _row(exclude=("*.bin",))):
        commit = _derived(part)
        assert re.fullmatch("[0-9a-f]{40}", commit)
        assert commit != _ONE
        for revision in ("main", _ONE, commit):
            found = snapshot([part], revision)
            assert found is not None
            assert (found.models, found.commit, found.true_commit, found.whole) == ((part,), commit, _ONE, False)


def test_the_whole_one_answers_for_all_and_what_a_client_began_with_goes_on() -> None:
    part, whole = _row(include=("*.json",)), _row()
    for models in ([part, whole], [whole, part]):
        found = snapshot(models, "main")
        assert found is not None
        assert (found.models, found.commit) == ((whole,), _ONE)
        begun = snapshot(models, _derived(part))
        assert begun is not None
        assert begun.models == (part,)


def test_selections_of_one_commit_answer_together_by_a_commit_of_all() -> None:
    parts = [_row(include=(f"*.{ending}",)) for ending in ("json", "bin", "txt")]
    found = snapshot(parts, "main")
    assert found is not None
    assert (found.models, found.commit) == (tuple(parts), _derived(*parts))
    # Who began with fewer, in whatever order they arrived, goes on with these.
    for some in ([parts[0]], [parts[1], parts[2]], [parts[0], parts[2]], parts):
        begun = snapshot(parts, _derived(*some))
        assert begun is not None
        assert begun.models == tuple(some)


def test_selections_of_different_commits_never_answer_together() -> None:
    old, new = _row(include=("*.json",)), _row(_TWO, include=("*.bin",))
    found = snapshot([old, new], "main")
    assert found is not None
    assert found.models == (new,)
    by_commit = snapshot([old, new], _ONE)
    assert by_commit is not None
    assert by_commit.models == (old,)


def test_of_many_selections_all_and_each_alone_have_commits() -> None:
    parts = [_row(include=(f"{number}.gguf",)) for number in range(40)]
    for some in ([parts[7]], parts):
        assert snapshot(parts, _derived(*some)) is not None
    assert snapshot(parts, _derived(*parts[:2])) is None


@pytest.mark.parametrize("status", [ModelStatus.CREATING, ModelStatus.DOWNLOADING, ModelStatus.ERROR])
def test_only_what_is_ready_answers(status: ModelStatus) -> None:
    for commit in (_ONE, None):
        waiting = _row(commit, status=status)
        assert snapshot([waiting], "main") is None
        assert default([waiting]) is None
        assert branches([waiting]) == {}


def test_main_is_the_default_or_else_what_is_kept_longest() -> None:
    other, tag, main = _row(_TWO, revision="refs/pr/1"), _row(revision="v1"), _row()
    for models, expected in (([other, tag, main], main), ([other, tag], other)):
        found = default(models)
        assert found is not None
        assert found.models == (expected,)
    assert list(branches([other, tag, main])) == ["main", "refs/pr/1", "v1"]
    assert default([]) is None


async def test_rows_are_found_by_full_and_by_bare_name(database: Database) -> None:
    for name in ("acme/tiny", "acme/Tiny", "other/tiny", "acme/tiny_x", "acme/tinyzx"):
        await by_hand.ready_model(database, name)
    async with database.read() as connection:
        found = await published.named(connection, ["acme/tiny", "tiny", "tiny_x", "none", "no/ne"])
        assert {name: [row.name for row in rows] for name, rows in found.items()} == {
            "acme/tiny": ["acme/tiny"],
            "tiny": ["acme/tiny", "other/tiny"],
            "tiny_x": ["acme/tiny_x"],
            "none": [],
            "no/ne": [],
        }
        assert found["tiny"][0].commit == "c" * 40


async def test_a_search_lists_names_once_and_only_of_what_is_ready(database: Database) -> None:
    for name in ("acme/tiny", "acme/Large", "other/tiny", "acm/e"):
        await by_hand.ready_model(database, name)
    await by_hand.ready_model(database, "acme/tiny_x")
    await by_hand.create(database, "acme/tiny-arriving")

    async def found(search: str = "", author: str = "", most: int = 10) -> list[str]:
        async with database.read() as connection:
            return list(
                await published.ready_names(connection, search=search, author=author, most=most, limit=UNLIMITED)
            )

    assert sorted(await found()) == sorted(["acme/tiny", "acme/Large", "other/tiny", "acm/e", "acme/tiny_x"])
    assert await found("TINY", "acme") == ["acme/tiny", "acme/tiny_x"]
    assert await found("y_x") == ["acme/tiny_x"]
    assert await found("%") == []
    assert len(await found(most=2)) == 2
