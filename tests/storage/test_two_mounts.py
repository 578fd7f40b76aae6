"""Two machines on one network file system: who was replaced publishes nothing, whatever its mount remembers."""

from collections.abc import Iterator

import pytest

from app.domain.errors import TryAgain
from app.storage.base import Attempt
from app.storage.posix import PosixStore
from tests.juicefs import two_mounts
from tests.storage.attempts import CONTENT, LABEL, arrive, attempt_at, manifest_of, next_attempt, repair_of

_TRIES = 20


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PosixStore, PosixStore]]:
    with two_mounts(tmp_path_factory.mktemp("juicefs")) as roots:
        one, two = (PosixStore(root) for root in roots)
        one.prepare()
        two.prepare()
        yield one, two


def test_the_file_system_has_all_that_publishing_takes(machines: tuple[PosixStore, PosixStore]) -> None:
    assert [machine.check_abilities() for machine in machines] == [True, True]


def test_an_attempt_that_another_machine_took_over_publishes_nothing(machines: tuple[PosixStore, PosixStore]) -> None:
    one, two = machines
    for _ in range(_TRIES):
        first = attempt_at()
        second = next_attempt(first)
        _arrive(one, first)
        _adopt(two, second)
        with pytest.raises(TryAgain, match="taken over"):
            one.publish(first, manifest_of(first))
        two.publish(second, manifest_of(first))
        assert (two.layout.published(first.model_id) / "config.json").read_bytes() == CONTENT


def test_a_download_whose_model_another_machine_deleted_publishes_nothing(
    machines: tuple[PosixStore, PosixStore],
) -> None:
    one, two = machines
    for _ in range(_TRIES):
        attempt = attempt_at()
        _arrive(one, attempt)
        two.discard(attempt.model_id, LABEL)
        with pytest.raises(TryAgain, match="taken over"):
            one.publish(attempt, manifest_of(attempt))
        assert attempt.model_id not in two.published_ids()
        assert attempt.model_id not in two.recorded_ids()


def test_a_repair_that_another_machine_took_over_changes_nothing(machines: tuple[PosixStore, PosixStore]) -> None:
    one, two = machines
    for _ in range(_TRIES):
        published = attempt_at()
        _arrive(one, published)
        one.publish(published, manifest_of(published))
        first = repair_of(published)
        second = next_attempt(first)
        _arrive(one, first, mends=True)
        _adopt(two, second, mends=True)
        with pytest.raises(TryAgain, match="taken over"):
            one.mend(first, manifest_of(first))
        assert [path.name for path in two.layout.tree(second).iterdir()] == ["config.json"]
        two.mend(second, manifest_of(first))
        assert (two.layout.published(first.model_id) / "config.json").read_bytes() == CONTENT
        assert two.layout.arriving(first.model_id) == []


def _adopt(storage: PosixStore, attempt: Attempt, *, mends: bool = False) -> None:
    with storage.arrival(attempt, mends=mends):
        pass


def _arrive(storage: PosixStore, attempt: Attempt, *, mends: bool = False) -> None:
    arrive(storage, attempt, mends=mends)
    list(storage.layout.tree(attempt).iterdir())  # from here on the mount remembers it
