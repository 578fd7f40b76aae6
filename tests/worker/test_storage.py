"""What a storage holds after a step was cut off, or done by somebody who had been replaced."""

from pathlib import Path, PurePosixPath
from uuid import uuid4

import pytest

from app.domain.errors import TryAgain
from worker.storage import Attempt, Storage

LABEL = PurePosixPath("acme", "tiny")


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    storage = Storage(tmp_path)
    storage.prepare()
    return storage


def test_an_attempt_that_was_replaced_publishes_nothing_and_leaves_its_successor_alone(storage: Storage) -> None:
    first = Attempt(uuid4(), uuid4(), 1)
    second = Attempt(first.model_id, first.operation_id, 2)
    _arrive(storage, first)
    _adopt(storage, second)
    with pytest.raises(TryAgain, match="taken over"):
        storage.publish(first)
    assert [path.name for path in storage.attempt(second).glob("tree/*")] == ["config.json"]
    assert (storage.publish(second) / "config.json").read_text() == "{}"
    assert list((storage.root / "incoming").iterdir()) == []


def test_publishing_again_after_its_worker_died_gives_the_same_files(storage: Storage) -> None:
    first = Attempt(uuid4(), uuid4(), 1)
    _arrive(storage, first)
    storage.publish(first)
    second = Attempt(first.model_id, first.operation_id, 2)
    assert (_adopt(storage, second) / "tree" / "config.json").read_text() == "{}"
    assert not storage.published(first.model_id).exists()
    assert (storage.publish(second) / "config.json").read_text() == "{}"


def test_a_delete_removes_what_an_earlier_one_left_half_removed(storage: Storage) -> None:
    attempt = Attempt(uuid4(), uuid4(), 1)
    _arrive(storage, attempt)
    storage.publish(attempt)
    storage.link(attempt.model_id, LABEL)
    # As a worker leaves it that is killed between the rename and the end of the removal.
    left = storage.root / "trash" / f"{attempt.model_id}.{uuid4().hex}"
    storage.published(attempt.model_id).rename(left)
    storage.discard(attempt.model_id, LABEL)
    assert sorted(path.relative_to(storage.root).as_posix() for path in storage.root.rglob("*")) == [
        "by-name",
        "incoming",
        "models",
        "trash",
    ]


def test_a_delete_leaves_the_link_of_another_model_alone(storage: Storage) -> None:
    old, new = Attempt(uuid4(), uuid4(), 1), Attempt(uuid4(), uuid4(), 1)
    for attempt in (old, new):
        _arrive(storage, attempt)
        storage.publish(attempt)
        link = storage.link(attempt.model_id, LABEL)
    storage.discard(old.model_id, LABEL)
    assert link.resolve() == storage.published(new.model_id)


def _adopt(storage: Storage, attempt: Attempt) -> Path:
    with storage.alone(attempt.model_id):
        return storage.adopt(attempt)


def _arrive(storage: Storage, attempt: Attempt) -> None:
    (_adopt(storage, attempt) / "tree" / "config.json").write_text("{}")
