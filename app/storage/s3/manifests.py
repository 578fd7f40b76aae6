"""The manifests of a store in a bucket: a model is published while its manifest is there."""

import errno
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

from app.storage.base import Removed
from app.storage.manifests import Manifest
from app.storage.s3.errors import NoObject
from app.storage.s3.keys import Keys, id_in
from app.storage.s3.objects import Objects


@dataclass(frozen=True, slots=True)
class Published:
    """A manifest with what only a bucket needs: the model's label, which attempt wrote it, the ETags by the paths."""

    manifest: Manifest
    label: PurePosixPath
    attempt: str
    etags: Mapping[str, str]

    def to_json(self) -> str:
        values = json.loads(self.manifest.to_json())
        more = {"label": str(self.label), "attempt": self.attempt, "etags": dict(self.etags)}
        return json.dumps(values | more, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Published":
        """Parse a manifest. Raises `ValueError`."""
        try:
            values: dict[str, Any] = json.loads(text)
            label, attempt, etags = values.pop("label"), values.pop("attempt"), values.pop("etags")
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError("it is no manifest of a bucket") from error
        return cls(Manifest.from_json(json.dumps(values)), PurePosixPath(label), attempt, etags)


_RECENT = 32
"""Manifests that are remembered: one of a thousand files takes some 300 KB."""


class BucketManifests:
    """The manifests, and those in the trash. All methods raise `OSError`."""

    def __init__(self, objects: Objects, keys: Keys) -> None:
        self._objects, self._keys = objects, keys
        self._recent: dict[UUID, Published] = {}

    def write(self, published: Published) -> None:
        self._objects.put(self._keys.manifest(published.manifest.model_id), published.to_json().encode())

    def find(self, model_id: UUID) -> Published | None:
        return self._read(self._keys.manifest(model_id))

    def get(self, model_id: UUID) -> Published:
        """Return what is published. Raises `FileNotFoundError`."""
        if published := self.find(model_id):
            if len(self._recent) >= _RECENT:
                self._recent.clear()
            self._recent[model_id] = published
            return published
        self._recent.pop(model_id, None)
        raise FileNotFoundError(errno.ENOENT, f"the model {model_id} is not published")

    def recent(self, model_id: UUID) -> Published:
        """Return what was published when `get` was last asked: a repair or a delete may have changed it meanwhile."""
        return self._recent.get(model_id) or self.get(model_id)

    def has(self, model_id: UUID) -> bool:
        try:
            self._objects.head(self._keys.manifest(model_id))
        except NoObject:
            return False
        return True

    def forget(self, model_id: UUID) -> None:
        self._recent.pop(model_id, None)
        self._objects.delete(self._keys.manifest(model_id))

    def ids(self) -> set[UUID]:
        return {model_id for one in self._objects.level(self._keys.depot) if (model_id := id_in(one.key))}

    # The trash

    def take_away(self, model_id: UUID) -> None:
        published = self.get(model_id)
        self._objects.put(self._keys.trash(model_id), published.to_json().encode())
        self.forget(model_id)

    def restore(self, model_id: UUID) -> bool:
        """Return False if it is not in the trash. Raises `FileExistsError` if the model is published."""
        published = self.removed(model_id)
        if published is None:
            return False
        if self.has(model_id):
            raise FileExistsError(errno.EEXIST, f"the model {model_id} is published already")
        self.write(published)
        self.forget_removed(model_id)
        return True

    def removed(self, model_id: UUID) -> Published | None:
        return self._read(self._keys.trash(model_id))

    def all_removed(self) -> Iterator[Removed]:
        for one in self._objects.level(self._keys.all_trash):
            if model_id := id_in(one.key):
                yield Removed(model_id, int(one.modified))

    def forget_removed(self, model_id: UUID) -> None:
        self._objects.delete(self._keys.trash(model_id))

    def _read(self, key: str) -> Published | None:
        with suppress(NoObject, ValueError):
            return Published.from_json(self._objects.get(key).decode())
        return None
