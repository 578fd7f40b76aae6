"""The files of one attempt in a bucket, at their final keys. Only verified bytes come there."""

import hashlib
import io
from collections.abc import Mapping
from contextlib import suppress
from pathlib import PurePosixPath
from typing import BinaryIO, NamedTuple, cast
from uuid import UUID

from app.storage.base import Attempt
from app.storage.incoming import Bytes
from app.storage.names import as_id
from app.storage.s3.attempts import BucketAttempts
from app.storage.s3.errors import Changed, NoObject, NoUpload
from app.storage.s3.keys import Keys
from app.storage.s3.manifests import BucketManifests
from app.storage.s3.objects import Head, Objects
from app.storage.s3.reading import ObjectReader
from app.storage.s3.uploads import Record, S3Upload, abandon, part_size, recorded

_LARGEST_PUT = 8 << 20
_COPY_AT_ONCE = 5 << 30
"""Most bytes that one request copies: the protocol's limit."""
_COPY_PART = 1 << 30


class Source(NamedTuple):
    """An object to copy."""

    key: str
    head: Head


class S3Arrival:
    """One attempt's files. Of an attempt that `mends` a published model, only what it brings itself counts."""

    def __init__(self, objects: Objects, keys: Keys, attempt: Attempt, *, mends: bool) -> None:
        self._objects, self._keys, self._attempt = objects, keys, attempt
        self._folder = keys.folder(attempt.label, attempt.model_id)
        self._places = Places(objects, keys)
        self._there = {} if mends else {
            path: Head(one.size, one.etag, None) for path, one in objects.inside(self._folder).items()
        }  # fmt: skip
        self._last: dict[str, bytes] = {}
        """Files without which no engine loads a model: stored when all others are there."""
        self._records: dict[str, list[Record]] = {}
        for record in recorded(objects, keys, attempt.model_id):
            self._records.setdefault(record.path, []).append(record)

    @property
    def largest_put(self) -> int:
        return _LARGEST_PUT

    def has(self, path: str, size: int) -> bool:
        if path in self._last:
            return len(self._last[path]) == size
        return path in self._there and self._there[path].size == size

    def sha256(self, path: str) -> str | None:
        if path in self._last:
            return hashlib.sha256(self._last[path]).hexdigest()
        if path not in self._there:
            return None
        with suppress(NoObject):
            self._there[path] = self._objects.head(self._folder + path)
        return self._there[path].sha256

    def open(self, path: str) -> BinaryIO:
        if path in self._last:
            return io.BytesIO(self._last[path])
        key = self._folder + path
        head = self._objects.head(key)
        return cast("BinaryIO", ObjectReader(self._objects, key, head.size, head.etag))

    def accept(self, path: str) -> None:
        """Every object is durable, and nobody writes to it."""

    def remove(self, path: str) -> None:
        self._last.pop(path, None)
        self._there.pop(path, None)
        self._objects.delete(self._folder + path)

    def is_at(self, place: str, size: int) -> bool:
        source = self._places.source(place)
        return source is not None and source.head.size == size

    def link(self, path: str, place: str) -> bool:
        source = self._places.source(place)
        if source is None:
            return False
        try:
            self._copy(source, path)
        except (NoObject, Changed):
            return False
        return True

    def twin(self, path: str, other: str) -> None:
        if other in self._last:
            self.put(path, self._last[other])
        else:
            key = self._folder + other
            self._copy(Source(key, self._objects.head(key)), path)

    def put(self, path: str, data: Bytes) -> None:
        if _comes_last(path):
            self._last[path] = bytes(data)
        else:
            self._put(path, data)

    def upload(self, path: str, size: int, sha256: str | None) -> S3Upload:
        return self._upload(path, size, sha256, part_size(size))

    def prune(self, wanted: Mapping[str, int]) -> None:
        gone = [path for path, head in self._there.items() if wanted.get(path) != head.size]
        self._objects.delete_all([self._folder + path for path in gone])
        for path in gone:
            del self._there[path]
        for path in [path for path, data in self._last.items() if wanted.get(path) != len(data)]:
            del self._last[path]
        for path in [path for path, records in self._records.items() if wanted.get(path) != records[0].size]:
            abandon(self._objects, self._records.pop(path))

    def sync(self) -> None:
        for path in sorted(self._last):
            self._put(path, self._last[path])
            del self._last[path]

    def _put(self, path: str, data: Bytes) -> None:
        etag = self._objects.put(self._folder + path, data, verified=True)
        self._there[path] = Head(len(data), etag, None)

    def _upload(self, path: str, size: int, sha256: str | None, part: int) -> S3Upload:
        place, target = self._keys.record(self._attempt, path), self._folder + path
        fresh = Record(place, target, path, size, sha256, "", part)

        def arrived(head: Head) -> None:
            self._there[path] = head

        return S3Upload(self._objects, fresh, self._records.pop(path, []), arrived)

    def _copy(self, source: Source, path: str) -> None:
        """Copy an object by the server. Raises `NoObject` or `Changed`."""
        key, head = source
        if _comes_last(path) and head.size <= _LARGEST_PUT:
            self._last[path] = self._objects.read(key, head.etag, 0, head.size)
        elif head.size <= _COPY_AT_ONCE:
            etag = self._objects.copy(key, self._folder + path, head.etag)
            self._there[path] = head._replace(etag=etag)
        else:
            upload = self._upload(path, head.size, head.sha256, _COPY_PART)
            try:
                upload.copy(key, head.etag)
            except (NoObject, Changed, NoUpload):
                upload.abort()
                raise
            upload.complete()


def _comes_last(path: str) -> bool:
    """Whether engines begin with this file: one that starts too early is to fail, and not to load half a model."""
    name = PurePosixPath(path).name
    return name in {"config.json", "model_index.json"} or name.endswith(".index.json")


class Places:
    """What `Store.find` and `Store.copy_of` told: `<model id>/<path>`. Labels are asked for once."""

    def __init__(self, objects: Objects, keys: Keys) -> None:
        self._objects, self._keys = objects, keys
        self._manifests, self._attempts = BucketManifests(objects, keys), BucketAttempts(objects, keys)
        self._known: dict[UUID, tuple[PurePosixPath, Mapping[str, str]]] = {}

    def source(self, place: str) -> Source | None:
        """Return the object at a place, if a verified file is there."""
        text, _, path = place.partition("/")
        model_id = as_id(text)
        found = self._look_up(model_id) if model_id else None
        if model_id is None or found is None:
            return None
        label, etags = found
        key = self._keys.folder(label, model_id) + path
        try:
            head = self._objects.head(key)
        except NoObject:
            return None
        # Of a published model, only what was published.
        return Source(key, head) if etags.get(path, head.etag) == head.etag else None

    def _look_up(self, model_id: UUID) -> tuple[PurePosixPath, Mapping[str, str]] | None:
        if model_id not in self._known:
            if published := self._manifests.find(model_id):
                self._known[model_id] = published.label, published.etags
            elif holder := self._attempts.holder(model_id):
                self._known[model_id] = holder.label, {}
            else:
                return None
        return self._known[model_id]
