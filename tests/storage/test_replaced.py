"""Attempts in a bucket that are replaced while they publish: each is paused between its look and its manifest."""

from collections.abc import Callable
from typing import Any

import pytest

from app.domain.errors import TryAgain
from app.storage.base import Store
from app.storage.s3.store import S3Store
from tests.buckets import Place, Server
from tests.storage.attempts import CONTENT, LABEL, arrive, attempt_at, manifest_of, next_attempt, publish, repair_of


@pytest.fixture
def place(versitygw: Server) -> Place:
    return versitygw.place()


@pytest.fixture
def paused(place: Place, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Store], object]], Store]:
    """A store that lets something happen, in another process, just before it writes a manifest."""

    def pause(meanwhile: Callable[[Store], object]) -> Store:
        store = place.open()
        assert isinstance(store, S3Store)
        write = store._manifests.write

        def late(published: Any) -> None:
            meanwhile(place.open())
            write(published)

        monkeypatch.setattr(store._manifests, "write", late)
        return store

    return pause


Paused = Callable[[Callable[[Store], object]], Store]


@pytest.mark.parametrize("by", ["its successor", "a delete"])
def test_who_is_replaced_while_it_publishes_leaves_nothing_published(place: Place, paused: Paused, by: str) -> None:
    first = attempt_at()
    arrive(place.open(), first)

    def meanwhile(other: Store) -> None:
        if by == "a delete":
            other.discard(first.model_id, LABEL)
        else:
            arrive(other, next_attempt(first))

    store = paused(meanwhile)
    with pytest.raises(TryAgain, match="taken over"):
        store.publish(first, manifest_of(first))
    assert store.published_ids() == set()


def test_a_model_that_the_successor_published_meanwhile_stays_published(place: Place, paused: Paused) -> None:
    first = attempt_at()
    second = next_attempt(first)
    arrive(place.open(), first)

    def meanwhile(other: Store) -> None:
        arrive(other, second)
        other.publish(second, manifest_of(second))

    store = paused(meanwhile)
    with pytest.raises(TryAgain, match="taken over"):
        store.publish(first, manifest_of(first))
    _is_there(place.open())


def test_a_repair_that_is_replaced_leaves_the_model_published(place: Place, paused: Paused) -> None:
    repair = repair_of(publish(place.open()))
    arrive(place.open(), repair, mends=True)
    store = paused(lambda other: arrive(other, next_attempt(repair), mends=True))
    with pytest.raises(TryAgain, match="taken over"):
        store.mend(repair, manifest_of(repair))
    _is_there(place.open())


def _is_there(store: Store) -> None:
    (model_id,) = store.published_ids()
    with store.open(model_id, "config.json").reader() as file:
        assert file.read() == CONTENT
