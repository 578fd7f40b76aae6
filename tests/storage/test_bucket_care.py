"""What keeps a bucket in order: checks of published models, and uploads that nothing records."""

import time
from uuid import uuid4

from app.storage.s3.attempts import BucketAttempts
from app.storage.s3.keys import Keys
from tests.buckets import Place
from tests.storage.attempts import CONTENT, LABEL, arrive, attempt_at, file_of, publish

MIB = 1 << 20


def test_only_an_object_that_was_changed_is_read_again(bucket: Place) -> None:
    store = bucket.open()
    attempt = publish(store)
    file = file_of("config.json")
    recorded, other = {file.path: (file.size, file.sha256)}, {file.path: (file.size, "0" * 64)}
    for deep in (False, True):
        assert store.check(attempt.model_id, recorded, deep=deep) == []
    # Of an object with the ETag of the manifest, only a deep check would find this.
    assert store.check(attempt.model_id, other, deep=False) == []
    assert store.check(attempt.model_id, other) == ["config.json differs from its checksum"]
    key = f"{bucket.prefix}/models/{LABEL}/{attempt.model_id}/config.json"
    bucket.objects.put(key, b"[]")
    assert store.check(attempt.model_id, recorded, deep=False) == ["config.json differs from its checksum"]
    bucket.objects.put(key, CONTENT)
    bucket.objects.put(f"{key}.more", CONTENT)
    assert store.check(attempt.model_id, recorded, deep=False) == ["config.json.more is not one of its files"]
    bucket.objects.delete(key)
    assert "config.json is missing" in store.check(attempt.model_id, recorded, deep=False)


def test_uploads_that_nothing_records_are_aborted_where_they_are_listed(bucket: Place) -> None:
    store, attempt = bucket.open(), attempt_at()
    keys = Keys(f"{bucket.prefix}/")
    attempts, objects = BucketAttempts(bucket.objects, keys), bucket.objects
    arrive(store, attempt)
    with store.arrival(attempt) as arrival:
        upload = arrival.upload("large.bin", 12 * MIB, None)  # type: ignore[attr-defined]
        upload.send(1, bytes(8 * MIB))
        upload.record(1, b"state")
    lost = f"{keys.folder(LABEL, uuid4())}lost.bin"
    objects.begin(lost, None)
    began = {one.key for one in objects.uploads(keys.models)}
    attempts.abort_lost(time.time() - 3600)
    assert {one.key for one in objects.uploads(keys.models)} == began, "they may be recorded in a moment"
    attempts.abort_lost(time.time() + 3600)
    left = {one.key for one in objects.uploads(keys.models)}
    assert lost not in left
    # The recorded one goes on.
    upload.send(2, bytes(4 * MIB))
    upload.complete()
