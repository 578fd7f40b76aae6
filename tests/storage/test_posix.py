"""What a storage holds after a step was cut off, or done by somebody who had been replaced."""

import os
from pathlib import Path, PurePosixPath
from uuid import UUID, uuid4

import pytest

from app.domain.errors import TryAgain
from app.storage.manifests import File, Manifest
from app.storage.names import label
from app.storage.posix import FOLDERS, Arrival, Attempt, Storage
from tests.storage.stale import remembered

LABEL = PurePosixPath("acme", "tiny")


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    storage = Storage(tmp_path / "storage")
    storage.prepare()
    return storage


def test_an_attempt_that_was_replaced_publishes_nothing_and_leaves_its_successor_alone(storage: Storage) -> None:
    first = Attempt(uuid4(), uuid4(), 1)
    second = Attempt(first.model_id, first.operation_id, 2)
    _arrive(storage, first)
    _adopt(storage, second)
    with pytest.raises(TryAgain, match="taken over"):
        storage.publish(first)
    assert [path.name for path in storage.tree(second).iterdir()] == ["config.json"]
    assert (storage.publish(second) / "config.json").read_text() == "{}"
    assert list((storage.root / "incoming").iterdir()) == []


@pytest.mark.parametrize("deleted", [False, True])
def test_who_still_finds_moved_folders_under_their_old_names_publishes_nothing(
    storage: Storage, *, deleted: bool
) -> None:
    """A path through a folder that another machine has renamed works on for a while on NFS and FUSE."""
    first = Attempt(uuid4(), uuid4(), 1)
    _arrive(storage, first)
    names = [storage.root / name for name in FOLDERS]
    with remembered(*names, storage.incoming(first.model_id), storage.scratch(first), storage.tree(first)) as caches:
        with caches.context() as fresh:
            fresh.setattr(Path, "rename", Path.replace)
            if deleted:
                storage.discard(first.model_id, LABEL)
            else:
                _adopt(storage, Attempt(first.model_id, uuid4(), 1))
        with pytest.raises(TryAgain, match="taken over"):
            storage.publish(first, _manifest(first.model_id))
    assert storage.published_ids() == set()
    assert storage.manifests.ids() == set()


def test_what_a_replaced_attempt_published_in_the_last_moment_gives_way(storage: Storage) -> None:
    """Its successor looked for it a moment before."""
    first = Attempt(uuid4(), uuid4(), 1)
    second = Attempt(first.model_id, first.operation_id, 2)
    _arrive(storage, first)
    storage.publish(first)
    storage.published(first.model_id).rename(storage.root / "aside")
    (_adopt(storage, second).tree / "config.json").write_text('{"its": "own"}')
    (storage.root / "aside").rename(storage.published(first.model_id))
    assert (storage.publish(second) / "config.json").read_text() == '{"its": "own"}'
    assert list((storage.root / "verified").iterdir()) == []


def test_publishing_again_after_its_worker_died_gives_the_same_files(storage: Storage) -> None:
    first = Attempt(uuid4(), uuid4(), 1)
    _arrive(storage, first)
    storage.publish(first)
    second = Attempt(first.model_id, first.operation_id, 2)
    assert (_adopt(storage, second).tree / "config.json").read_text() == "{}"
    assert not storage.published(first.model_id).exists()
    assert (storage.publish(second) / "config.json").read_text() == "{}"


def test_what_an_older_version_left_is_taken_over(storage: Storage) -> None:
    """It kept verified files in `tree`, beside those in flight."""
    attempt = Attempt(uuid4(), uuid4(), 2)
    old = storage.incoming(attempt.model_id) / f"{attempt.operation_id}.1"
    for path in (old / "tree" / "config.json", old / "parts" / "abc.steps"):
        path.parent.mkdir(parents=True)
        path.write_text("0\n")
    arrival = _adopt(storage, attempt)
    assert [path.name for path in arrival.tree.iterdir()] == ["config.json"]
    assert [path.name for path in (arrival.scratch / "parts").iterdir()] == ["abc.steps"]
    assert not (arrival.scratch / "tree").exists()


def test_a_delete_removes_what_an_earlier_one_left_half_removed(storage: Storage) -> None:
    attempt = Attempt(uuid4(), uuid4(), 1)
    _arrive(storage, attempt)
    storage.publish(attempt, _manifest(attempt.model_id))
    storage.links.put(LABEL, storage.published(attempt.model_id))
    # As a worker leaves it that is killed between the rename and the end of the removal.
    left = storage.root / "trash" / f"{attempt.model_id}.{uuid4().hex}"
    storage.published(attempt.model_id).rename(left)
    storage.discard(attempt.model_id, LABEL)
    assert {path.relative_to(storage.root).as_posix() for path in storage.root.rglob("*")} == set(FOLDERS)


def test_a_delete_leaves_the_link_of_another_model_alone(storage: Storage) -> None:
    old, new = Attempt(uuid4(), uuid4(), 1), Attempt(uuid4(), uuid4(), 1)
    for attempt in (old, new):
        _arrive(storage, attempt)
        storage.publish(attempt)
        link = storage.links.put(LABEL, storage.published(attempt.model_id))
    storage.discard(old.model_id, LABEL)
    assert link.resolve() == storage.published(new.model_id)


def test_a_published_model_has_its_manifest_beside_the_folders_that_engines_load(storage: Storage) -> None:
    attempt = Attempt(uuid4(), uuid4(), 1)
    _arrive(storage, attempt)
    manifest = _manifest(attempt.model_id)
    published = storage.publish(attempt, manifest)
    assert list(storage.manifests.of(attempt.model_id)) == [manifest]
    assert [path.name for path in published.iterdir()] == ["config.json"]


@pytest.mark.parametrize("revision", ["x" * 250, "feature/" + "模" * 20, "模" * 250, "a/" * 124 + "b"])
def test_any_revision_has_a_name_that_can_be_published(storage: Storage, revision: str) -> None:
    attempts = [Attempt(uuid4(), uuid4(), 1) for _ in "12"]
    name = f"{'o' * 96}/{'n' * 96}"
    links = set()
    for attempt, asked in zip(attempts, (revision, revision[:-1] + "z"), strict=True):
        _arrive(storage, attempt)
        storage.publish(attempt)
        links.add(storage.links.put(label(name, asked, "f" * 64, patterns=True), storage.published(attempt.model_id)))
    assert len(links) == 2
    assert all((link / "config.json").read_text() == "{}" for link in links)


def test_folders_are_as_readable_as_files_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        storage = Storage(tmp_path / "storage")
        storage.prepare()
        attempt = Attempt(uuid4(), uuid4(), 1)
        _arrive(storage, attempt)
        storage.publish(attempt, _manifest(attempt.model_id))
        link = storage.links.put(LABEL, storage.published(attempt.model_id))
    finally:
        os.umask(before)
    for folder in (storage.root, storage.root / "models", storage.root / "by-name", link.parent):
        assert folder.stat().st_mode & 0o777 == 0o755, folder


def _adopt(storage: Storage, attempt: Attempt) -> Arrival:
    with storage.alone(attempt.model_id):
        return storage.adopt(attempt)


def _arrive(storage: Storage, attempt: Attempt) -> None:
    (_adopt(storage, attempt).tree / "config.json").write_text("{}")


def _manifest(model_id: UUID) -> Manifest:
    return Manifest(model_id, "acme/tiny", "main", [], [], "c" * 40, [File("config.json", 2, "a" * 64)])


def test_a_storage_that_goes_away_is_not_made_anew_in_its_place(storage: Storage, tmp_path: Path) -> None:
    storage.root.rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError):
        storage.make_folders()
    with pytest.raises(FileNotFoundError), storage.alone(uuid4()):
        pass
    assert not storage.root.exists()
