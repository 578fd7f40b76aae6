"""A store in a bucket. A model is published by its manifest, which is written when all its files are there."""

import errno
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import PurePosixPath
from uuid import UUID

from app.domain.errors import Reason, TryAgain
from app.storage.base import Attempt, ModelUsage, Removed, Signed, Space, StoreAway
from app.storage.locations import SCHEME, Bucket, Observe, S3Options
from app.storage.manifests import Manifest
from app.storage.s3.abilities import TRY_AGE, Abilities
from app.storage.s3.arrival import S3Arrival
from app.storage.s3.attempts import BucketAttempts
from app.storage.s3.errors import Changed, NoObject
from app.storage.s3.inspection import Inspection
from app.storage.s3.keys import Keys
from app.storage.s3.manifests import BucketManifests, Published
from app.storage.s3.objects import Objects
from app.storage.s3.reading import ObjectFile


class S3Store:
    """The part of a bucket below a prefix."""

    def __init__(
        self, bucket: Bucket, options: S3Options, *, keep: float = 0.0, observe: Observe | None = None
    ) -> None:
        self.keep = keep
        self.location = f"{SCHEME}{bucket.name}/{bucket.prefix}".rstrip("/")
        self._bucket = bucket.name
        self._objects = Objects(bucket.name, options, observe)
        self._keys = Keys(bucket.prefix)
        self._manifests = BucketManifests(self._objects, self._keys)
        self._attempts = BucketAttempts(self._objects, self._keys)
        self._inspection = Inspection(self._objects, self._keys, self._manifests, self._attempts)
        self._abilities = Abilities(self._objects, self._keys)

    @property
    def advice(self) -> str:
        return f"Look at DEPOT_STORAGE, which is {self.location}, at DEPOT_S3_…, and at the object store."

    # The whole

    def prepare(self) -> None:
        self._objects.check()

    def complete(self) -> None:
        """Do nothing: a bucket has no folders."""

    def check_writable(self) -> None:
        # Whether it may be written to is tried once, by `check_abilities`.
        self._objects.check()

    def check_abilities(self) -> bool:
        self._abilities.check(self.advice)
        return False

    def mark(self) -> UUID | None:
        with suppress(NoObject, ValueError):
            return UUID(self._objects.get(self._keys.mark).decode().strip())
        return None

    def write_mark(self, mark: UUID) -> None:
        self._objects.put(self._keys.mark, f"{mark}\n".encode())

    def space(self) -> Space:
        return Space(None, None)

    def measure(self) -> tuple[Mapping[UUID, ModelUsage], int]:
        return self._inspection.measure()

    # A model that arrives

    @contextmanager
    def arrival(self, attempt: Attempt, *, mends: bool = False) -> Iterator[S3Arrival]:
        # A model that is published stays it: its worker may have died before it recorded that, but this attempt may also
        # have been replaced meanwhile, by one that is done. The same commit is published again over it.
        self._attempts.adopt(attempt)
        yield S3Arrival(self._objects, self._keys, attempt, mends=mends)

    def check_alone(self, model_id: UUID) -> None:  # noqa: ARG002  # no process is in another's way
        try:
            self._objects.check()
        except StoreAway:
            raise
        except OSError as error:
            message = f"The storage can't be used: {error.strerror}. {self.advice}"
            raise TryAgain(Reason.FAULT, message) from error

    def arriving_ids(self) -> set[UUID]:
        return self._inspection.arriving_ids()

    def arrived(self) -> Mapping[UUID, int]:
        return self._inspection.arrived()

    def last_change(self, model_id: UUID) -> float:
        return self._inspection.last_change(model_id)

    def discard_incoming(self, model_id: UUID) -> None:
        label = self._inspection.label(model_id)
        folder = self._keys.folder(label, model_id) if label else None
        self._attempts.clear(model_id, folder)
        if folder and not self._manifests.has(model_id) and not self._manifests.removed(model_id):
            self._erase(folder)

    # A published model

    def publish(self, attempt: Attempt, manifest: Manifest) -> None:
        self._write(attempt, manifest)
        try:
            self._attempts.check(attempt)
        except TryAgain:
            self._withdraw(attempt)
            raise
        self._attempts.clear(attempt.model_id, self._keys.folder(attempt.label, attempt.model_id))

    def mend(self, attempt: Attempt, manifest: Manifest) -> None:
        """Write the manifest anew: what the attempt brought is in its place already."""
        self._write(attempt, manifest)
        self._attempts.check(attempt)
        self._attempts.clear(attempt.model_id, self._keys.folder(attempt.label, attempt.model_id))

    def path(self, label: PurePosixPath, model_id: UUID) -> str:
        return f"{SCHEME}{self._bucket}/{self._keys.folder(label, model_id)}".rstrip("/")

    def link(self, label: PurePosixPath, model_id: UUID) -> str:
        return self.path(label, model_id)

    def unlink(self, model_id: UUID) -> None:
        """Do nothing: the label is part of the keys."""

    def linked_ids(self) -> set[UUID]:
        return set()

    def published_ids(self) -> set[UUID]:
        return self._manifests.ids()

    def has(self, model_id: UUID) -> bool:
        return self._manifests.has(model_id)

    def find(self, model_id: UUID, path: str) -> Sequence[str]:
        place = self.copy_of(model_id, path)
        return [place] if self._inspection.source(place) else []

    def copy_of(self, model_id: UUID, path: str) -> str:
        return f"{model_id}/{path}"

    def open(self, model_id: UUID, path: str) -> ObjectFile:
        try:
            return self._open(self._manifests.recent(model_id), path)
        except (FileNotFoundError, Changed):
            return self._open(self._manifests.get(model_id), path)

    def sign(self, model_id: UUID, paths: Sequence[str]) -> Signed | None:
        published = self._manifests.recent(model_id)
        if not published.etags.keys() >= set(paths):
            published = self._manifests.get(model_id)
        if absent := set(paths) - published.etags.keys():
            raise FileNotFoundError(errno.ENOENT, f"{min(absent)!r} is not a file of the model")
        folder, seconds = self._keys.folder(published.label, model_id), self._objects.lifetime()
        until = int(time.time()) + seconds
        return Signed({path: self._objects.presign(folder + path, seconds) for path in paths}, until)

    def check(self, model_id: UUID, recorded: Mapping[str, tuple[int, str]], *, deep: bool = True) -> list[str]:
        return self._inspection.check(model_id, recorded, deep=deep)

    def discard(self, model_id: UUID, label: PurePosixPath) -> None:
        folder = self._keys.folder(label, model_id)
        self._manifests.forget(model_id)
        self._manifests.forget_removed(model_id)
        self._attempts.clear(model_id, folder)
        self._erase(folder)

    # The store's own record of its models

    def record(self, manifest: Manifest) -> None:
        label = self._inspection.label(manifest.model_id)
        if label is None:
            raise FileNotFoundError(f"{manifest.model_id} has no files in {self.location}")
        etags = self._objects.inside(self._keys.folder(label, manifest.model_id))
        self._manifests.write(Published(manifest, label, "", {path: one.etag for path, one in etags.items()}))

    def records(self, model_id: UUID) -> Iterator[Manifest]:
        if published := self._manifests.find(model_id):
            yield published.manifest

    def recorded_ids(self) -> set[UUID]:
        return self._manifests.ids()

    # The trash

    def take_away(self, model_id: UUID) -> None:
        self._manifests.take_away(model_id)

    def restore(self, model_id: UUID) -> bool:
        return self._manifests.restore(model_id)

    def removed(self) -> Iterator[Removed]:
        return self._manifests.all_removed()

    def forget(self, model_id: UUID) -> None:
        removed = self._manifests.removed(model_id)
        if removed and not self._manifests.has(model_id) and not self._attempts.holder(model_id):
            self._erase(self._keys.folder(removed.label, model_id))
        self._manifests.forget_removed(model_id)

    def empty_trash(self, now: float) -> None:
        for entry in self.removed():
            if not 0 <= now - entry.since < self.keep:
                self.forget(entry.model_id)
        tried = self._objects.below(self._keys.tries)
        self._objects.delete_all([one.key for one in tried if now - one.modified > TRY_AGE])
        self._attempts.abort_lost(now - max(self.keep, TRY_AGE))

    def _open(self, published: Published, path: str) -> ObjectFile:
        """Open a file of a published model. Raises `FileNotFoundError`, or `Changed` if it is not what was published."""
        etag = published.etags.get(path)
        if etag is None:
            raise FileNotFoundError(errno.ENOENT, f"{path!r} is not a file of the model")
        key = self._keys.folder(published.label, published.manifest.model_id) + path
        head = self._objects.head(key)
        if head.etag != etag:
            raise Changed(errno.ESTALE, f"{path!r} is not what was published: run `modeldepot storage verify`")
        return ObjectFile(self._objects, key, head.size, head.etag)

    def _etags(self, folder: str, manifest: Manifest) -> Mapping[str, str]:
        """Return the ETags of the manifest's files; remove others. Raises `TryAgain` if one is not there."""
        there, etags = self._objects.inside(folder), {}
        for file in manifest.files:
            one = there.get(file.path)
            if one is None or one.size != file.size:
                message = f"{file.path!r} is not in the bucket any more: another process removed or replaced it."
                raise TryAgain(Reason.FAULT, message)
            etags[file.path] = one.etag
        self._objects.delete_all([one.key for path, one in there.items() if path not in etags])
        return etags

    def _write(self, attempt: Attempt, manifest: Manifest) -> None:
        """Write the manifest of an attempt that has the model's files. Raises `TryAgain`."""
        self._attempts.check(attempt)
        etags = self._etags(self._keys.folder(attempt.label, attempt.model_id), manifest)
        self._manifests.write(Published(manifest, attempt.label, attempt.name, etags))

    def _withdraw(self, attempt: Attempt) -> None:
        """Take back what an attempt published that was replaced at the same moment, unless its successor did, too.

        A successor that has published is done. What it wrote may have been replaced by this attempt's manifest, which is
        as good while its files are there.
        """
        published = self._manifests.find(attempt.model_id)
        if published is None or published.attempt != attempt.name:
            return
        there = self._objects.inside(self._keys.folder(attempt.label, attempt.model_id))
        is_whole = all(path in there and there[path].etag == etag for path, etag in published.etags.items())
        if self._attempts.holder(attempt.model_id) or not is_whole:
            self._manifests.forget(attempt.model_id)

    def _erase(self, folder: str) -> None:
        """Remove all objects of a folder, with those that a process writes meanwhile that was not stopped yet."""
        while keys := [one.key for one in self._objects.below(folder)]:
            self._objects.delete_all(keys)
