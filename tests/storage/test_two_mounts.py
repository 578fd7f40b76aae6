"""Two machines on one network file system: who was replaced publishes nothing, whatever its mount remembers."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from uuid import uuid4

import pytest

from app.domain.errors import TryAgain
from app.storage.abilities import check_abilities
from app.storage.manifests import File, Manifest
from app.storage.posix import Attempt, Storage
from tests.juicefs import two_mounts
from worker.download.mending import mend

_TRIES = 20
_LABEL = PurePosixPath("acme", "tiny")
_CONTENT = "{}"


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Storage, Storage]]:
    with two_mounts(tmp_path_factory.mktemp("juicefs")) as roots:
        one, two = (Storage(root) for root in roots)
        one.prepare()
        two.prepare()
        yield one, two


def test_the_file_system_has_all_that_publishing_takes(machines: tuple[Storage, Storage]) -> None:
    assert [check_abilities(machine.root) for machine in machines] == [True, True]


def test_an_attempt_that_another_machine_took_over_publishes_nothing(machines: tuple[Storage, Storage]) -> None:
    one, two = machines
    for _ in range(_TRIES):
        first = Attempt(uuid4(), uuid4(), 1)
        second = Attempt(first.model_id, first.operation_id, 2)
        _arrive(one, first)
        _adopt(two, second)
        with pytest.raises(TryAgain, match="taken over"):
            one.publish(first, _manifest(first))
        assert (two.publish(second, _manifest(first)) / "config.json").read_text() == _CONTENT


def test_a_download_whose_model_another_machine_deleted_publishes_nothing(machines: tuple[Storage, Storage]) -> None:
    one, two = machines
    for _ in range(_TRIES):
        attempt = Attempt(uuid4(), uuid4(), 1)
        _arrive(one, attempt)
        two.discard(attempt.model_id, _LABEL)
        with pytest.raises(TryAgain, match="taken over"):
            one.publish(attempt, _manifest(attempt))
        assert attempt.model_id not in two.published_ids()
        assert attempt.model_id not in two.manifests.ids()


def test_a_repair_that_another_machine_took_over_changes_nothing(machines: tuple[Storage, Storage]) -> None:
    one, two = machines
    for _ in range(_TRIES):
        published = Attempt(uuid4(), uuid4(), 1)
        _arrive(one, published)
        one.publish(published, _manifest(published))
        first = Attempt(published.model_id, uuid4(), 1)
        second = Attempt(first.model_id, first.operation_id, 2)
        _arrive(one, first, mends=True)
        _adopt(two, second, mends=True)
        with pytest.raises(TryAgain, match="taken over"):
            mend(one, first, _manifest(first))
        assert [path.name for path in two.tree(second).iterdir()] == ["config.json"]
        mend(two, second, _manifest(first))
        assert (two.published(first.model_id) / "config.json").read_text() == _CONTENT
        assert two.arriving(first.model_id) == []


def _adopt(storage: Storage, attempt: Attempt, *, mends: bool = False) -> Path:
    with storage.alone(attempt.model_id):
        return storage.adopt(attempt, mends=mends).tree


def _arrive(storage: Storage, attempt: Attempt, *, mends: bool = False) -> None:
    tree = _adopt(storage, attempt, mends=mends)
    (tree / "config.json").write_text(_CONTENT)
    list(tree.iterdir())  # from here on the mount remembers it


def _manifest(attempt: Attempt) -> Manifest:
    return Manifest(attempt.model_id, "acme/tiny", "main", [], [], "0" * 40, [File("config.json", 2, "0" * 64)])
