"""What only a store in a bucket does: its keys, what engines see of it, and what is told when it does not work."""

import errno
import hashlib
from pathlib import Path
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from app.domain.errors import Failed, TryAgain
from app.storage import open_store
from app.storage.base import Attempt, Store, StoreAway
from app.storage.incoming import Arrival
from app.storage.locations import S3Options
from app.storage.s3 import arrival as arrivals
from tests.buckets import BUCKET, JuiceFS, Place, Server, Versity
from tests.faults.conftest import mounted
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

MIB = 1 << 20
_LATE = ["config.json", "model.safetensors.index.json", "unet/config.json"]


def _key(attempt: Attempt, path: str) -> str:
    return f"models/{LABEL}/{attempt.model_id}/{path}"


def _full_key(place: Place, attempt: Attempt, path: str) -> str:
    return f"{place.prefix}/{_key(attempt, path)}"


def test_a_published_model_is_its_files_and_its_manifest(bucket: Place) -> None:
    store = bucket.open()
    attempt = publish(store)
    assert bucket.keys() == [f"depot/{attempt.model_id}.json", _key(attempt, "config.json")]
    assert store.path(LABEL, attempt.model_id) == f"s3://{BUCKET}/{bucket.prefix}/models/{LABEL}/{attempt.model_id}"
    store.discard(attempt.model_id, LABEL)
    assert bucket.keys() == []


def test_files_that_engines_begin_with_are_there_when_all_others_are(bucket: Place) -> None:
    attempt = attempt_at()
    with bucket.open().arrival(attempt) as arrival:
        for path in [*_LATE, "model.safetensors"]:
            arrival.put(path, CONTENT)
        arrival.twin("vae/config.json", "unet/config.json")
        arrival.twin("other.safetensors", "model.safetensors")
        late = [*_LATE, "vae/config.json"]
        assert all(arrival.has(path, len(CONTENT)) for path in late)
        assert {arrival.sha256(path) for path in late} == {hashlib.sha256(CONTENT).hexdigest()}
        stored = [key for key in bucket.keys() if key.startswith("models/")]  # noqa: SIM118  # it is no mapping
        assert stored == [_key(attempt, "model.safetensors"), _key(attempt, "other.safetensors")]
        arrival.sync()
        assert {_key(attempt, path) for path in late} <= set(bucket.keys())


def test_a_later_attempt_need_not_read_what_was_verified(bucket: Place) -> None:
    attempt = attempt_at()
    with bucket.open().arrival(attempt) as arrival:
        arrival.put("weights.bin", b"weights")
    bucket.objects.put(_full_key(bucket, attempt, "unknown.bin"), b"weights")
    with bucket.open().arrival(next_attempt(attempt)) as arrival:
        assert arrival.sha256("weights.bin") == hashlib.sha256(b"weights").hexdigest()
        assert arrival.sha256("unknown.bin") is None
        assert arrival.sha256("missing.bin") is None


def test_an_attempt_that_comes_late_takes_nothing_from_its_successor(bucket: Place) -> None:
    first = attempt_at()
    second = next_attempt(first)
    arrive(bucket.open(), second)
    with pytest.raises(TryAgain, match="taken over"), bucket.open().arrival(first):
        pass
    bucket.open().publish(second, manifest_of(second))


def test_an_attempt_that_begins_late_leaves_its_model_published(bucket: Place) -> None:
    store, first = bucket.open(), attempt_at()
    second = next_attempt(first)
    arrive(store, second)
    store.publish(second, manifest_of(second))
    with store.arrival(first) as arrival:
        assert store.has(first.model_id)
        arrival.prune({"config.json": len(CONTENT)})
        arrival.sync()
    with store.open(first.model_id, "config.json").reader() as file:
        assert file.read() == CONTENT
    store.discard_incoming(first.model_id)
    assert store.has(first.model_id)


def test_a_model_that_lacks_a_file_is_not_published(bucket: Place) -> None:
    store, attempt = bucket.open(), attempt_at()
    arrive(store, attempt)
    for lacking in (file_of("lost.bin"), file_of("config.json", b"longer")):
        with pytest.raises(TryAgain, match=lacking.path):
            store.publish(attempt, manifest_of(attempt, file_of("config.json"), lacking))
    assert not store.has(attempt.model_id)


def test_a_repair_leaves_all_that_it_does_not_bring(bucket: Place) -> None:
    store, attempt = bucket.open(), attempt_at()
    files = [file_of(path, path.encode()) for path in ("a.bin", "b.bin")]
    with store.arrival(attempt) as arrival:
        for path in ("a.bin", "b.bin"):
            arrival.put(path, path.encode())
    store.publish(attempt, manifest_of(attempt, *files))
    with store.arrival(repair_of(attempt), mends=True) as arrival:
        assert not arrival.has("a.bin", 5), "it is to be fetched again, whatever is there"
        arrival.prune({"a.bin": 5})
        assert store.has(attempt.model_id)
        arrival.put("a.bin", b"a.bin")
        assert arrival.has("a.bin", 5)
        with store.open(attempt.model_id, "b.bin").reader() as file:
            assert file.read() == b"b.bin"


def test_what_a_paused_process_stores_of_a_deleted_model_is_found_and_removed(bucket: Place) -> None:
    store, attempt = bucket.open(), attempt_at()
    with store.arrival(attempt) as arrival:
        store.discard(attempt.model_id, LABEL)
        arrival.put("late.bin", b"late")
    assert store.arriving_ids() == {attempt.model_id}
    assert store.published_ids() == set()
    assert store.last_change(attempt.model_id) > 0
    assert store.measure()[0][attempt.model_id].arriving == 4
    store.discard_incoming(attempt.model_id)
    assert bucket.keys() == []


def test_files_in_the_trash_are_nobody_s_to_discard_until_they_are_forgotten(bucket: Place) -> None:
    store = bucket.open()
    attempt = publish(store)
    store.take_away(attempt.model_id)
    assert store.arriving_ids() == set()
    with pytest.raises(FileNotFoundError):
        store.open(attempt.model_id, "config.json")
    store.discard_incoming(attempt.model_id)
    assert store.measure()[0][attempt.model_id].own == len(CONTENT)
    for _ in "twice":
        store.forget(attempt.model_id)
    assert bucket.keys() == []


def test_content_that_changed_since_it_was_published_is_not_linked(bucket: Place) -> None:
    store = bucket.open()
    other = publish(store)
    bucket.objects.put(_full_key(bucket, other, "config.json"), b"[]")
    with store.arrival(attempt_at()) as arrival:
        place = store.copy_of(other.model_id, "config.json")
        assert not arrival.is_at(place, len(CONTENT))
        assert not arrival.link("other.json", place)
    assert store.check(other.model_id, {"config.json": (2, file_of("config.json").sha256)})


def test_content_of_a_model_that_arrives_is_linked(bucket: Place) -> None:
    store, other, attempt = bucket.open(), attempt_at(), attempt_at()
    with store.arrival(other) as arriving, store.arrival(attempt) as arrival:
        arriving.put("weights.bin", b"weights")
        assert list(store.find(other.model_id, "missing.bin")) == []
        (place,) = store.find(other.model_id, "weights.bin")
        assert arrival.is_at(place, 7)
        assert arrival.link("linked.bin", place)
        assert arrival.sha256("linked.bin") == hashlib.sha256(b"weights").hexdigest()


def test_what_is_too_large_for_one_request_is_copied_in_parts(bucket: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "_COPY_AT_ONCE", 5 * MIB)
    monkeypatch.setattr(arrivals, "_COPY_PART", 5 * MIB)
    data = bytes(range(256)) * (12 * 4096)
    store, other, attempt = bucket.open(), attempt_at(), attempt_at()
    with store.arrival(other) as arrival:
        arrival.put("weights.bin", data)
    store.publish(other, manifest_of(other, file_of("weights.bin", data)))
    with store.arrival(attempt) as arrival:
        assert arrival.link("linked.bin", store.copy_of(other.model_id, "weights.bin"))
        assert arrival.has("linked.bin", len(data))
        assert arrival.sha256("linked.bin") == file_of("weights.bin", data).sha256
    store.publish(attempt, manifest_of(attempt, file_of("linked.bin", data)))
    assert store.check(attempt.model_id, {"linked.bin": (len(data), file_of("", data).sha256)}) == []
    assert not any("arriving" in key for key in bucket.keys())  # noqa: SIM118  # it is no mapping


def test_what_a_server_can_do_is_tried_once_and_leaves_nothing(bucket: Place) -> None:
    store = bucket.open()
    with capture_logs() as logs:
        assert not store.check_abilities()
        assert not store.check_abilities()
    (told,) = logs
    assert told["lacks"] == (["conditional writes"] if isinstance(bucket.server, JuiceFS) else None)
    assert bucket.keys() == []
    bucket.objects.put(f"{bucket.prefix}/depot/try/left", b"")
    (left,) = bucket.objects.below(bucket.prefix)
    store.empty_trash(left.modified + 10)
    assert bucket.keys()
    store.empty_trash(left.modified + 10_000)
    assert bucket.keys() == []


class _Forgetful(JuiceFS):
    keeps = ()


def test_a_server_that_lacks_what_is_needed_is_refused_with_what_to_do() -> None:
    with _Forgetful() as server, pytest.raises(Failed, match="--keep-etag") as refused:
        server.place().open().check_abilities()
    assert "DEPOT_STORAGE" in refused.value.message


def test_a_store_that_is_away_says_so_and_works_again_when_it_is_back() -> None:
    with Versity() as server:
        place = server.place()
        store = place.open()
        attempt = publish(store)
        server.stop()
        for work in (store.has, store.check_alone):
            with pytest.raises(StoreAway, match="does not answer"):
                work(attempt.model_id)
        for work_on_all in (store.mark, store.prepare, store.check_writable):
            with pytest.raises(StoreAway, match="does not answer"):
                work_on_all()
        server.start()
        assert store.has(attempt.model_id)
        with store.open(attempt.model_id, "config.json").reader() as file:
            assert file.read() == CONTENT


def test_a_full_server_is_told_as_a_full_disk_is(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", mebibytes=16) as problem:
        if problem:
            pytest.skip(problem)
        with Versity(tmp_path / "disk") as server, server.place().open().arrival(attempt_at()) as arrival:
            arrival.put("fits.bin", bytes(4 * MIB))
            with pytest.raises(OSError, match="full") as full:
                _fill(arrival)
            assert full.value.errno == errno.ENOSPC


def _fill(arrival: Arrival) -> None:
    for number in range(8):
        arrival.put(f"{number}.bin", bytes(4 * MIB))


def test_no_secret_is_in_what_describes_a_store(bucket: Place) -> None:
    options = bucket.server.options
    store = bucket.open()
    for text in (repr(options), repr(store), repr(vars(store)), store.location, store.advice):
        assert options.secret_key not in text
        assert options.access_key not in text


def test_a_bucket_that_is_not_there_is_not_made(versitygw: Server) -> None:
    store: Store = open_store("s3://nothing-here/models", s3=versitygw.options)
    for work in (store.prepare, store.check_writable, store.mark, store.published_ids):
        with pytest.raises(FileNotFoundError, match="no bucket 'nothing-here'"):
            work()


@pytest.mark.parametrize(
    "location", ["s3://", "s3:///prefix", "s3://bucket/a//b", "s3://bucket/../x", "s3://b!/x", "s3://bucket/a\nb"]
)
def test_what_names_no_bucket_is_refused(location: str) -> None:
    with pytest.raises(ValueError, match="s3://bucket/prefix"):
        open_store(location, s3=S3Options())


def test_a_whole_bucket_can_be_the_storage(versitygw: Server) -> None:
    store, attempt = open_store(f"s3://{BUCKET}/", s3=versitygw.options), attempt_at()
    assert store.location == f"s3://{BUCKET}"
    publish(store, attempt)
    assert store.path(LABEL, attempt.model_id) == f"s3://{BUCKET}/models/{LABEL}/{attempt.model_id}"
    assert attempt.model_id in store.published_ids()
    assert uuid4() not in store.published_ids()
    store.discard(attempt.model_id, LABEL)
    assert attempt.model_id not in store.published_ids()
