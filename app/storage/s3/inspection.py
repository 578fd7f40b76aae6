"""Looks at what a bucket holds: of which models, how much, and whether it is what was recorded."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import NamedTuple
from uuid import UUID

from app.storage.base import ModelUsage
from app.storage.names import as_id
from app.storage.s3.arrival import Places, Source
from app.storage.s3.attempts import BucketAttempts
from app.storage.s3.errors import NoObject
from app.storage.s3.keys import Keys
from app.storage.s3.manifests import BucketManifests
from app.storage.s3.objects import Objects
from app.storage.s3.reading import ObjectReader
from app.storage.s3.uploads import recorded


class _Seen(NamedTuple):
    """What a bucket lists, by models. `published`: with those in the trash."""

    with_attempts: set[UUID]
    sizes: Counter[UUID]
    published: set[UUID]

    @property
    def arriving_ids(self) -> set[UUID]:
        return self.with_attempts | (self.sizes.keys() - self.published)


class Inspection:
    """What is in a bucket. All methods raise `OSError`."""

    def __init__(self, objects: Objects, keys: Keys, manifests: BucketManifests, attempts: BucketAttempts) -> None:
        self._objects, self._keys = objects, keys
        self._manifests, self._attempts = manifests, attempts

    def label(self, model_id: UUID) -> PurePosixPath | None:
        """Return the label of a model of which something is there."""
        if (
            found := self._manifests.find(model_id)
            or self._attempts.holder(model_id)
            or self._manifests.removed(model_id)
        ):
            return found.label
        # What a process stored that was paused while its model was deleted.
        places = (self._keys.place(one.key) for one in self._objects.below(self._keys.models))
        return next((place.label for place in places if place and place.model_id == model_id), None)

    def source(self, place: str) -> Source | None:
        return Places(self._objects, self._keys).source(place)

    def arriving_ids(self) -> set[UUID]:
        """Return the ids of models that have an attempt, or files and no manifest."""
        return self._look().arriving_ids

    def arrived(self) -> Mapping[UUID, int]:
        """Return the bytes of each model that arrives."""
        seen = self._look()
        usages = self._usages(seen)
        return {model_id: usages[model_id].arriving for model_id in seen.arriving_ids}

    def measure(self) -> tuple[Mapping[UUID, ModelUsage], int]:
        """Return the usage of every model, and the total. Copies by the server share nothing, as far as can be told."""
        usages = self._usages(self._look())
        return usages, sum(usage.own + usage.arriving for usage in usages.values())

    def last_change(self, model_id: UUID) -> float:
        """Return when something of a model that arrives last changed, in seconds since 1970; 0 if nothing is there."""
        prefixes = [self._keys.arriving(model_id)]
        if label := self.label(model_id):
            prefixes.append(self._keys.folder(label, model_id))
        return max((one.modified for prefix in prefixes for one in self._objects.below(prefix)), default=0.0)

    def check(self, model_id: UUID, recorded: Mapping[str, tuple[int, str]], *, deep: bool) -> list[str]:
        """Compare a model's objects with their recorded sizes and SHA-256. Return a line per problem.

        Unless it is `deep`, an object that has the ETag of the manifest is trusted: it was verified then.
        """
        published = None if deep else self._manifests.find(model_id)
        trusted = published.etags if published else {}
        label = self.label(model_id)
        folder = self._keys.folder(label, model_id) if label else None
        there = self._objects.inside(folder) if folder else {}
        problems = []
        for path, (size, sha256) in sorted(recorded.items()):
            one = there.get(path)
            if one is None:
                problems.append(f"{path} is missing")
            elif one.size != size:
                problems.append(f"{path} has {one.size} bytes instead of {size}")
            elif trusted.get(path) != one.etag and (problem := self._compare(one.key, one.size, one.etag, sha256)):
                problems.append(f"{path} {problem}")
        return problems + [f"{path} is not one of its files" for path in sorted(there.keys() - recorded.keys())]

    def _compare(self, key: str, size: int, etag: str, sha256: str) -> str:
        try:
            with ObjectReader(self._objects, key, size, etag) as reader:
                return (
                    "" if hashlib.file_digest(reader, "sha256").hexdigest() == sha256 else "differs from its checksum"
                )
        except NoObject:
            return "is missing"
        except OSError as error:
            return f"can't be read: {error.strerror}"

    def _look(self) -> _Seen:
        # Attempts first: one that publishes meanwhile counts as still arriving.
        with_attempts = self._with_attempts()
        return _Seen(with_attempts, self._sizes(), self._manifests.ids() | self._removed())

    def _usages(self, seen: _Seen) -> Mapping[UUID, ModelUsage]:
        sent = {model_id: self._sent(model_id) for model_id in seen.with_attempts}
        usages = {}
        for model_id in seen.sizes.keys() | seen.published | sent.keys():
            size, uploading = seen.sizes[model_id], sent.get(model_id, 0)
            own, arriving = (size, uploading) if model_id in seen.published else (0, size + uploading)
            usages[model_id] = ModelUsage(own, 0, arriving)
        return usages

    def _sizes(self) -> Counter[UUID]:
        """Return the bytes of each model's objects; a model of empty files counts, too."""
        sizes = Counter[UUID]()
        for one in self._objects.below(self._keys.models):
            if place := self._keys.place(one.key):
                sizes[place.model_id] += one.size
        return sizes

    def _with_attempts(self) -> set[UUID]:
        # SeaweedFS lists folders from which all objects were deleted, so what counts is objects.
        names = {self._keys.arriving_in(one.key) for one in self._objects.below(self._keys.all_arriving)}
        return {model_id for name in names if (model_id := as_id(name))}

    def _removed(self) -> set[UUID]:
        return {entry.model_id for entry in self._manifests.all_removed()}

    def _sent(self, model_id: UUID) -> int:
        """Return the bytes of the parts that are recorded of a model's uploads."""
        furthest: dict[str, int] = {}
        for record in recorded(self._objects, self._keys, model_id):
            size = min(len(record.etags) * record.part_size, record.size)
            furthest[record.upload] = max(furthest.get(record.upload, 0), size)
        return sum(furthest.values())
