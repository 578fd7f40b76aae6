"""What every store must do. A new one is added to `STORES`; what only one of them does is tested under its own name."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from uuid import UUID, uuid4

import pytest

from app.domain.errors import TryAgain
from app.storage import open_store
from app.storage.base import Store
from app.storage.manifests import File, Manifest
from app.storage.names import label
from tests.buckets import EVERY_SERVER, SERVERS, Server
from tests.conftest import EVERY
from tests.storage.attempts import (
    CONTENT,
    LABEL,
    arrive,
    attempt_at,
    file_of,
    manifest_of,
    next_attempt,
    publish,
    repair_of,
)

_KEEP = 60.0


def _posix(request: pytest.FixtureRequest) -> Store:
    folder: Path = request.getfixturevalue("tmp_path")
    return open_store(folder / "storage", keep=_KEEP)


def _bucket(request: pytest.FixtureRequest) -> Store:
    server: Server = request.getfixturevalue(request.param)
    return server.place().open(keep=_KEEP)


STORES: dict[str, Callable[[pytest.FixtureRequest], Store]] = {
    "posix": _posix,
    **dict.fromkeys(EVERY_SERVER if EVERY else SERVERS, _bucket),
}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> Store:
    store = STORES[request.param](request)
    store.prepare()
    return store


def test_what_is_published_is_whole_and_can_be_read(store: Store) -> None:
    attempt = attempt_at()
    with store.arrival(attempt) as arrival:
        arrival.put("config.json", CONTENT)
        arrival.put("deep/er/weights.bin", b"weights")
        arrival.sync()
        assert not store.has(attempt.model_id)
    manifest = manifest_of(attempt, file_of("config.json"), file_of("deep/er/weights.bin", b"weights"))
    store.publish(attempt, manifest)
    assert store.published_ids() == {attempt.model_id}
    assert store.arriving_ids() == set()
    assert _read(store, attempt.model_id, "deep/er/weights.bin") == b"weights"
    assert list(store.records(attempt.model_id)) == [manifest]
    assert store.recorded_ids() == {attempt.model_id}


def test_a_store_that_is_prepared_again_keeps_what_it_has(store: Store) -> None:
    mark = uuid4()
    store.write_mark(mark)
    attempt = publish(store)
    for again in (store.prepare, store.complete):
        again()
        assert store.mark() == mark
        assert store.has(attempt.model_id)


def test_what_a_store_lacks_is_not_found(store: Store) -> None:
    assert store.mark() is None
    assert not store.has(uuid4())
    assert list(store.records(uuid4())) == []
    assert store.find(uuid4(), "config.json") == []
    attempt = publish(store)
    with pytest.raises(FileNotFoundError):
        store.open(attempt.model_id, "other.json")


def test_a_later_attempt_takes_over_all_that_arrived(store: Store) -> None:
    first = attempt_at()
    arrive(store, first)
    second = next_attempt(first)
    with store.arrival(second) as arrival:
        assert arrival.has("config.json", len(CONTENT))
        assert not arrival.has("config.json", len(CONTENT) + 1)
        with arrival.open("config.json") as file:
            assert file.read() == CONTENT
    assert store.find(first.model_id, "config.json")


def test_an_attempt_that_was_replaced_publishes_nothing_and_leaves_its_successor_alone(store: Store) -> None:
    first = attempt_at()
    arrive(store, first)
    second = next_attempt(first)
    with store.arrival(second):
        pass
    with pytest.raises(TryAgain, match="taken over"):
        store.publish(first, manifest_of(first))
    assert not store.has(first.model_id)
    assert store.recorded_ids() == set()
    store.publish(second, manifest_of(second))
    assert _read(store, first.model_id, "config.json") == CONTENT


def test_publishing_again_after_its_worker_died_gives_the_same_files(store: Store) -> None:
    first = publish(store)
    second = next_attempt(first)
    with store.arrival(second) as arrival:
        assert arrival.has("config.json", len(CONTENT))
    store.publish(second, manifest_of(second))
    assert _read(store, first.model_id, "config.json") == CONTENT


def test_files_that_are_not_wanted_are_pruned(store: Store) -> None:
    with store.arrival(attempt_at()) as arrival:
        for path in ("kept.bin", "deep/gone.bin", "other-size.bin"):
            arrival.put(path, CONTENT)
        arrival.prune({"kept.bin": len(CONTENT), "other-size.bin": 99})
        sizes = {path: arrival.has(path, len(CONTENT)) for path in ("kept.bin", "deep/gone.bin", "other-size.bin")}
        assert sizes == {"kept.bin": True, "deep/gone.bin": False, "other-size.bin": False}


def test_content_of_other_models_need_not_be_fetched(store: Store) -> None:
    other = publish(store)
    attempt = attempt_at()
    with store.arrival(attempt) as arrival:
        place = store.copy_of(other.model_id, "config.json")
        assert arrival.is_at(place, len(CONTENT))
        assert not arrival.is_at(place, 99)
        assert arrival.link("linked.json", place)
        assert not arrival.link("missing.json", store.copy_of(uuid4(), "config.json"))
        arrival.twin("deep/twin.json", "linked.json")
        arrival.sync()
    store.publish(attempt, manifest_of(attempt, file_of("linked.json"), file_of("deep/twin.json")))
    # Neither is changed or lost with the other.
    store.discard(other.model_id, LABEL)
    assert _read(store, attempt.model_id, "linked.json") == _read(store, attempt.model_id, "deep/twin.json") == CONTENT


def test_a_file_that_is_replaced_leaves_its_twin_alone(store: Store) -> None:
    other, attempt = publish(store), attempt_at()
    with store.arrival(attempt) as arrival:
        assert arrival.link("config.json", store.copy_of(other.model_id, "config.json"))
        arrival.put("config.json", b"other")
    assert _read(store, other.model_id, "config.json") == CONTENT


def test_a_repair_replaces_what_it_brings_and_leaves_the_rest(store: Store) -> None:
    attempt = attempt_at()
    files = [file_of("bad.bin", b"new"), file_of("good.bin", b"good")]
    with store.arrival(attempt) as arrival:
        for path, data in (("bad.bin", b"bad"), ("good.bin", b"good"), ("stray.bin", b"?")):
            arrival.put(path, data)
    store.publish(attempt, manifest_of(attempt, file_of("bad.bin", b"bad"), files[1], file_of("stray.bin", b"?")))
    repair = repair_of(attempt)
    with store.arrival(repair, mends=True) as arrival:
        assert store.has(attempt.model_id)
        arrival.put("bad.bin", b"new")
    manifest = manifest_of(repair, *files)
    store.mend(repair, manifest)
    assert [_read(store, attempt.model_id, path) for path in ("bad.bin", "good.bin")] == [b"new", b"good"]
    with pytest.raises(FileNotFoundError):
        store.open(attempt.model_id, "stray.bin")
    assert list(store.records(attempt.model_id)) == [manifest]
    assert store.arriving_ids() == set()


def test_a_delete_removes_all_of_a_model_and_can_be_repeated(store: Store) -> None:
    attempt = publish(store)
    store.link(LABEL, attempt.model_id)
    arrive(store, repair_of(attempt), mends=True)
    for _ in "twice":
        store.discard(attempt.model_id, LABEL)
        assert store.published_ids() | store.arriving_ids() | store.linked_ids() | store.recorded_ids() == set()


def test_an_open_file_outlives_its_model(store: Store) -> None:
    attempt = publish(store)
    with store.open(attempt.model_id, "config.json").reader() as file:
        store.discard(attempt.model_id, LABEL)
        assert file.read() == CONTENT


def test_a_label_leads_to_the_path_that_the_api_tells(store: Store) -> None:
    attempt = publish(store)
    assert store.link(LABEL, attempt.model_id) == store.path(LABEL, attempt.model_id)
    store.discard(attempt.model_id, LABEL)
    store.unlink(attempt.model_id)
    assert store.linked_ids() == set()


@pytest.mark.parametrize("revision", ["x" * 250, "feature/" + "模" * 20, "模" * 250, "a/" * 124 + "b"])
def test_any_revision_has_a_label_that_can_be_linked(store: Store, revision: str) -> None:
    name = f"{'o' * 96}/{'n' * 96}"
    labels = [label(name, asked, "f" * 64, patterns=True) for asked in (revision, revision[:-1] + "z")]
    paths = {store.link(one, publish(store).model_id) for one in labels}
    assert len(paths) == len(labels)


def test_what_differs_from_its_record_is_told(store: Store) -> None:
    attempt = publish(store)
    (file,) = manifest_of(attempt).files
    assert store.check(attempt.model_id, {file.path: (file.size, file.sha256)}) == []
    problems = store.check(attempt.model_id, {file.path: (file.size, "0" * 64), "lost.bin": (1, "0" * 64)})
    assert len(problems) == 2
    assert len(store.check(attempt.model_id, {file.path: (99, file.sha256)})) == 1
    assert len(store.check(attempt.model_id, {})) == 1


def test_what_is_taken_away_can_be_brought_back_for_a_while(store: Store) -> None:
    attempt = publish(store)
    store.link(LABEL, attempt.model_id)
    store.take_away(attempt.model_id)
    (entry,) = store.removed()
    assert entry.model_id == attempt.model_id
    assert store.published_ids() | store.linked_ids() == set()
    store.empty_trash(entry.since + store.keep - 1)
    assert store.restore(attempt.model_id)
    assert _read(store, attempt.model_id, "config.json") == CONTENT
    assert not store.restore(attempt.model_id)
    store.take_away(attempt.model_id)
    (entry,) = store.removed()
    store.empty_trash(entry.since + store.keep + 1)
    assert list(store.removed()) == []
    assert list(store.records(attempt.model_id)) == []


def test_what_is_brought_back_takes_no_other_s_place(store: Store) -> None:
    attempt = publish(store)
    store.take_away(attempt.model_id)
    publish(store, attempt)
    with pytest.raises(FileExistsError):
        store.restore(attempt.model_id)
    store.forget(attempt.model_id)
    assert list(store.removed()) == []
    assert _read(store, attempt.model_id, "config.json") == CONTENT


def test_usage_tells_what_a_delete_frees(store: Store) -> None:
    one, two = publish(store), publish(store)
    arriving = attempt_at()
    arrive(store, arriving)
    usages, total = store.measure()
    assert set(usages) == {one.model_id, two.model_id, arriving.model_id}
    assert usages[one.model_id].own == len(CONTENT)
    assert usages[arriving.model_id].arriving == len(CONTENT)
    assert total == 3 * len(CONTENT)
    assert store.arrived()[arriving.model_id] >= len(CONTENT)
    assert store.space().free != 0


def test_the_last_change_of_what_arrives_is_known(store: Store) -> None:
    attempt = attempt_at()
    assert store.last_change(attempt.model_id) == 0
    arrive(store, attempt)
    before = store.last_change(attempt.model_id)
    assert before > 0
    with store.arrival(next_attempt(attempt)) as arrival:
        arrival.put("more.bin", CONTENT)
    assert store.last_change(attempt.model_id) >= before
    store.discard_incoming(attempt.model_id)
    assert store.arriving_ids() == set()


def _read(store: Store, model_id: UUID, path: str) -> bytes:
    with store.open(model_id, path).reader() as file:
        return file.read()


@pytest.mark.parametrize("follows", [None, "main"])
def test_a_manifest_is_read_as_it_was_written(store: Store, follows: str | None) -> None:
    attempt = publish(store)
    files = [File("a", 1, "b" * 64)]
    manifest = Manifest(attempt.model_id, "acme/模", "v1", ["*.bin"], ["*.md"], "c" * 40, files, follows)
    store.record(manifest)
    assert list(store.records(attempt.model_id)) == [manifest]


def test_a_label_says_what_it_leads_to() -> None:
    assert label("acme/tiny", "main", "f" * 64, patterns=False) == PurePosixPath("acme", "tiny")
