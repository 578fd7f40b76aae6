"""What a storage in a folder holds after a step was cut off, or done by an attempt that had been replaced."""

import os
from pathlib import Path
from uuid import uuid4

import pytest

from app.domain.errors import NotYet, TryAgain
from app.storage.layout import FOLDERS
from app.storage.posix import PosixStore
from tests.storage.attempts import LABEL, arrive, attempt_at, manifest_of, next_attempt, publish
from tests.storage.stale import remembered


@pytest.fixture
def storage(tmp_path: Path) -> PosixStore:
    storage = PosixStore(tmp_path / "storage")
    storage.prepare()
    return storage


@pytest.mark.parametrize("deleted", [False, True])
def test_who_still_finds_moved_folders_under_their_old_names_publishes_nothing(
    storage: PosixStore, *, deleted: bool
) -> None:
    """A path through a folder that another machine has renamed works on for a while on NFS and FUSE."""
    first = attempt_at()
    arrive(storage, first)
    layout = storage.layout
    own = layout.incoming(first.model_id), layout.scratch(first), layout.tree(first)
    with remembered(*layout.folders(), *own) as caches:
        with caches.context() as fresh:
            fresh.setattr(Path, "rename", Path.replace)
            if deleted:
                storage.discard(first.model_id, LABEL)
            else:
                with storage.arrival(next_attempt(first)):
                    pass
        with pytest.raises(TryAgain, match="taken over"):
            storage.publish(first, manifest_of(first))
    assert storage.published_ids() == set()
    assert storage.recorded_ids() == set()


def test_what_a_replaced_attempt_published_in_the_last_moment_gives_way(storage: PosixStore) -> None:
    """Its successor looked for it a moment before."""
    first = publish(storage)
    published = storage.layout.published(first.model_id)
    second = next_attempt(first)
    published.rename(storage.layout.root / "aside")
    with storage.arrival(second) as arrival:
        arrival.put("config.json", b'{"its": "own"}')
    (storage.layout.root / "aside").rename(published)
    storage.publish(second, manifest_of(second))
    assert (published / "config.json").read_text() == '{"its": "own"}'
    assert list((storage.layout.root / "verified").iterdir()) == []


def test_what_an_older_version_left_is_taken_over(storage: PosixStore) -> None:
    """It kept verified files in `tree`, beside those in flight."""
    attempt = next_attempt(attempt_at())
    old = storage.layout.incoming(attempt.model_id) / f"{attempt.operation_id}.1"
    for path in (old / "tree" / "config.json", old / "parts" / "abc.steps"):
        path.parent.mkdir(parents=True)
        path.write_text("0\n")
    with storage.arrival(attempt) as arrival:
        assert arrival.has("config.json", 2)
        assert [path.name for path in arrival.parts.iterdir()] == ["abc.steps"]
    assert not (storage.layout.scratch(attempt) / "tree").exists()


def test_a_delete_removes_what_an_earlier_one_left_half_removed(storage: PosixStore) -> None:
    attempt = publish(storage)
    storage.link(LABEL, attempt.model_id)
    # As a worker leaves it that is killed between the rename and the end of the removal.
    storage.layout.published(attempt.model_id).rename(storage.layout.new_trash(attempt.model_id))
    storage.discard(attempt.model_id, LABEL)
    root = storage.layout.root
    assert {path.relative_to(root).as_posix() for path in root.rglob("*")} == set(FOLDERS)


def test_a_link_leads_to_the_model_s_files_and_to_nothing_else(storage: PosixStore) -> None:
    attempt = publish(storage)
    link = Path(storage.link(LABEL, attempt.model_id))
    assert link.resolve() == storage.layout.published(attempt.model_id)
    assert [path.name for path in link.iterdir()] == ["config.json"]


def test_folders_are_as_readable_as_files_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        storage = PosixStore(tmp_path / "storage")
        storage.prepare()
        attempt = publish(storage)
        link = Path(storage.link(LABEL, attempt.model_id))
    finally:
        os.umask(before)
    for folder in (storage.layout.root, *storage.layout.open_folders(), link.parent):
        assert folder.stat().st_mode & 0o777 == 0o755, folder


def test_a_storage_that_goes_away_is_not_made_anew_in_its_place(storage: PosixStore, tmp_path: Path) -> None:
    storage.layout.root.rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError):
        storage.complete()
    with pytest.raises(FileNotFoundError), storage.arrival(attempt_at()):
        pass
    with pytest.raises(FileNotFoundError):
        storage.check_writable()
    assert not storage.has(uuid4())
    assert not storage.layout.root.exists()


def test_two_processes_of_a_machine_never_have_the_files_of_one_model(storage: PosixStore) -> None:
    first = attempt_at()
    with storage.arrival(first):
        with pytest.raises(NotYet), storage.arrival(next_attempt(first)):
            pass
        with pytest.raises(NotYet):
            storage.check_alone(first.model_id)
        with pytest.raises(NotYet):
            storage.discard(first.model_id, LABEL)
        with storage.arrival(attempt_at()):
            pass
    storage.check_alone(first.model_id)


def test_a_delete_leaves_the_label_of_another_model_alone(storage: PosixStore) -> None:
    old, new = publish(storage), publish(storage)
    for attempt in (old, new):
        assert storage.link(LABEL, attempt.model_id) == storage.path(LABEL, attempt.model_id)
    storage.discard(old.model_id, LABEL)
    assert storage.linked_ids() == {new.model_id}
    storage.unlink(new.model_id)
    assert storage.linked_ids() == set()
