"""Uploads in parts go on in other processes, and only what was sent and hashed ends up in the file."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app.domain.errors import TryAgain
from app.storage.base import Attempt, Store
from app.storage.incoming import UploadArrival
from app.storage.s3.keys import Keys
from app.storage.s3.uploads import part_size, recorded
from tests.buckets import Place, SeaweedFS
from tests.storage.attempts import LABEL, attempt_at, file_of, manifest_of, next_attempt, repair_of

MIB = 1 << 20
_PART = 8 * MIB
_DATA = b"".join(bytes([number]) * MIB for number in range(20))
_PARTS = [_DATA[start : start + _PART] for start in range(0, len(_DATA), _PART)]
_SHA256 = hashlib.sha256(_DATA).hexdigest()
_PATH = "deep/weights.safetensors"


@contextmanager
def _arrival(store: Store, attempt: Attempt, *, mends: bool = False) -> Iterator[UploadArrival]:
    with store.arrival(attempt, mends=mends) as arrival:
        assert isinstance(arrival, UploadArrival)
        yield arrival


def _records(place: Place, attempt: Attempt) -> list[str]:
    """The uploads that are recorded of the model."""
    return [one.upload for one in recorded(place.objects, Keys(f"{place.prefix}/"), attempt.model_id)]


def _alive(place: Place, attempt: Attempt, upload: str) -> bool:
    key = f"{place.prefix}/models/{attempt.label}/{attempt.model_id}/{_PATH}"
    try:
        place.objects.parts(key, upload)
    except FileNotFoundError:
        return False
    return True


@pytest.mark.parametrize(
    ("size", "part"),
    [(0, 8), (8 * MIB + 1, 8), (80_000 * MIB, 8), (80_000 * MIB + 1, 12), (700_000 * MIB, 72), (5 << 40, 528)],
)
def test_parts_are_as_few_as_the_protocol_allows(size: int, part: int) -> None:
    assert part_size(size) == part * MIB
    assert -(-size // part_size(size)) <= 10_000


def test_a_file_of_parts_is_there_once_it_is_complete(bucket: Place) -> None:
    store, attempt = bucket.open(), attempt_at()
    with _arrival(store, attempt) as arrival:
        upload = arrival.upload(_PATH, len(_DATA), _SHA256)
        assert (upload.part_size, upload.parts, upload.state) == (_PART, 0, b"")
        assert _records(bucket, attempt) == [], "nothing is changed before the first part"
        for number in (3, 1, 2):
            upload.send(number, memoryview(_PARTS[number - 1]))
        assert not arrival.has(_PATH, len(_DATA))
        assert len(_records(bucket, attempt)) == 1
        upload.complete()
        assert arrival.has(_PATH, len(_DATA))
        assert arrival.sha256(_PATH) == _SHA256
        assert _records(bucket, attempt) == []
        with arrival.open(_PATH) as file:
            assert file.read() == _DATA
    store.publish(attempt, manifest_of(attempt, file_of(_PATH, _DATA)))
    assert store.check(attempt.model_id, {_PATH: (len(_DATA), _SHA256)}) == []


def test_a_later_attempt_goes_on_where_the_record_of_an_earlier_one_ends(bucket: Place) -> None:
    store, first = bucket.open(), attempt_at()
    with _arrival(store, first) as arrival:
        upload = arrival.upload(_PATH, len(_DATA), _SHA256)
        upload.send(1, _PARTS[0])
        upload.send(3, _PARTS[2])
        upload.record(1, b"\0state")
        assert store.arrived()[first.model_id] == _PART
    second = next_attempt(first)
    with _arrival(bucket.open(), second) as arrival:
        upload = arrival.upload(_PATH, len(_DATA), _SHA256)
        assert (upload.parts, upload.state) == (1, b"\0state")
        for number in (2, 3):
            upload.send(number, _PARTS[number - 1])
        assert len(_records(bucket, second)) == 1
        upload.record(3, b"all")
    third = repair_of(first)
    with _arrival(bucket.open(), third) as arrival:
        upload = arrival.upload(_PATH, len(_DATA), _SHA256)
        assert (upload.parts, upload.state) == (3, b"all")
        upload.complete()
        with arrival.open(_PATH) as file:
            assert file.read() == _DATA
    assert _records(bucket, first) == []


def test_of_several_records_the_one_that_goes_furthest_is_used_and_no_other_upload_is_left(bucket: Place) -> None:
    store, first = bucket.open(), attempt_at()
    with _arrival(store, first) as arrival, _arrival(store, next_attempt(first)) as other:
        ahead, behind = (one.upload(_PATH, len(_DATA), _SHA256) for one in (arrival, other))
        for upload in (ahead, behind):
            upload.send(1, _PARTS[0])
            upload.record(1, b"one")
        ahead.send(2, _PARTS[1])
        ahead.record(2, b"two")
        (_, _) = uploads = _records(bucket, first)
        assert len(set(uploads)) == 2
    third = repair_of(first)
    with _arrival(store, third) as arrival:
        upload = arrival.upload(_PATH, len(_DATA), _SHA256)
        assert (upload.parts, upload.state) == (2, b"two")
        upload.send(3, _PARTS[2])
        assert len(_records(bucket, third)) == 1
        assert sorted(_alive(bucket, third, one) for one in uploads) == [False, True]
        with pytest.raises(TryAgain):
            behind.send(2, _PARTS[1])


@pytest.mark.parametrize("changed", ["size", "checksum"])
def test_what_was_sent_of_another_content_is_not_used(bucket: Place, changed: str) -> None:
    store, first = bucket.open(), attempt_at()
    with _arrival(store, first) as arrival:
        upload = arrival.upload(_PATH, len(_DATA), _SHA256)
        upload.send(1, _PARTS[0])
        upload.record(1, b"state")
    (old,) = _records(bucket, first)
    with _arrival(store, next_attempt(first)) as arrival:
        data = _DATA[:-1] if changed == "size" else _DATA
        upload = arrival.upload(_PATH, len(data), "b" * 64)
        assert (upload.parts, upload.state) == (0, b"")
        upload.send(1, _PARTS[0])
        assert not _alive(bucket, first, old)
        assert len(_records(bucket, first)) == 1


def test_what_is_not_wanted_any_more_is_aborted(bucket: Place) -> None:
    store, first = bucket.open(), attempt_at()
    with _arrival(store, first) as arrival:
        arrival.upload(_PATH, len(_DATA), _SHA256).send(1, _PARTS[0])
    (old,) = _records(bucket, first)
    with _arrival(store, next_attempt(first)) as arrival:
        arrival.prune({"other.bin": 7})
    assert _records(bucket, first) == []
    assert not _alive(bucket, first, old)


def test_a_part_that_another_process_replaced_never_gets_into_the_file(bucket: Place) -> None:
    store, first = bucket.open(), attempt_at()
    with _arrival(store, first) as arrival:
        upload = arrival.upload(_PATH, len(_DATA), _SHA256)
        for number, part in enumerate(_PARTS, 1):
            upload.send(number, part)
        (upload_id,) = _records(bucket, first)
        key = f"{bucket.prefix}/models/{LABEL}/{first.model_id}/{_PATH}"
        bucket.objects.send(key, upload_id, 2, bytes(_PART))
        if isinstance(bucket.server, SeaweedFS):  # keeps both parts, and takes the one that is named
            upload.complete()
            assert bucket.objects.get(key) == _DATA
            return
        with pytest.raises(TryAgain):
            upload.complete()
        assert not arrival.has(_PATH, len(_DATA))
        assert not _alive(bucket, first, upload_id)
        assert _records(bucket, first) == []
    stored = bucket.keys()
    assert [key for key in stored if key.startswith("models/")] == []


def test_an_answer_to_complete_that_was_lost_is_made_good(bucket: Place) -> None:
    store, first = bucket.open(), attempt_at()
    for sha256 in (_SHA256, None):
        with _arrival(store, first) as arrival:
            upload = arrival.upload(_PATH, len(_DATA), sha256)
            for number, part in enumerate(_PARTS, 1):
                upload.send(number, part)
            (upload_id,) = _records(bucket, first)
            key = f"{bucket.prefix}/models/{LABEL}/{first.model_id}/{_PATH}"
            # As the server does before its answer is lost.
            bucket.objects.complete(key, upload_id, [upload._etags[number] for number in (1, 2, 3)])  # type: ignore[attr-defined]
            upload.complete()
            assert arrival.has(_PATH, len(_DATA))
            arrival.remove(_PATH)


def test_an_upload_that_was_aborted_meanwhile_is_begun_again_by_the_next_attempt(bucket: Place) -> None:
    store, first = bucket.open(), attempt_at()
    with _arrival(store, first) as arrival:
        upload = arrival.upload(_PATH, len(_DATA), _SHA256)
        upload.send(1, _PARTS[0])
        upload.record(1, b"state")
        store.discard(first.model_id, LABEL)
        with pytest.raises(TryAgain, match="taken over"):
            upload.send(2, _PARTS[1])
        with pytest.raises(TryAgain, match="taken over"):
            store.publish(first, manifest_of(first))
    assert bucket.keys() == []
    with _arrival(store, next_attempt(first)) as arrival:
        assert arrival.upload(_PATH, len(_DATA), _SHA256).parts == 0


def test_a_record_whose_upload_is_gone_is_not_used(bucket: Place) -> None:
    store, first = bucket.open(), attempt_at()
    with _arrival(store, first) as arrival:
        upload = arrival.upload(_PATH, len(_DATA), _SHA256)
        upload.send(1, _PARTS[0])
        upload.record(1, b"state")
    (gone,) = _records(bucket, first)
    bucket.objects.abort(f"{bucket.prefix}/models/{LABEL}/{first.model_id}/{_PATH}", gone)
    with _arrival(store, next_attempt(first)) as arrival:
        assert arrival.upload(_PATH, len(_DATA), _SHA256).parts == 0


def test_what_was_wrong_is_aborted_and_sent_again(bucket: Place) -> None:
    store, first = bucket.open(), attempt_at()
    with _arrival(store, first) as arrival:
        upload = arrival.upload(_PATH, len(_DATA), _SHA256)
        upload.send(1, _PARTS[1])
        upload.record(1, b"wrong")
        for _ in "twice":
            upload.abort()
        again = arrival.upload(_PATH, len(_DATA), _SHA256)
        assert again.parts == 0
        for number, part in enumerate(_PARTS, 1):
            again.send(number, part)
        again.complete()
        with arrival.open(_PATH) as file:
            assert file.read() == _DATA
