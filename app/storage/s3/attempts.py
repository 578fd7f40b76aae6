"""Which attempt at a model has its files, and what to do with those that it leaves."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import PurePosixPath
from typing import NamedTuple, Self
from uuid import UUID

import structlog

from app.domain.errors import NotYet, Reason
from app.storage.base import Attempt, StoreAway
from app.storage.s3.errors import NoObject
from app.storage.s3.keys import Keys
from app.storage.s3.objects import Objects
from app.storage.s3.uploads import REPLACED, Record, abandon, recorded, replaced

log = structlog.get_logger()


class Holder(NamedTuple):
    """The attempt that has a model's files."""

    label: PurePosixPath
    operation_id: str
    fence: int

    @classmethod
    def of(cls, attempt: Attempt) -> Self:
        return cls(attempt.label, str(attempt.operation_id), attempt.fence)


class BucketAttempts:
    """The attempts at all models. All methods raise `OSError`.

    No lock keeps two processes apart, and none is needed: a key belongs to one model, whose commit is pinned, and gets
    only bytes that were verified. So what an attempt writes that was replaced is what its successor would write.
    """

    def __init__(self, objects: Objects, keys: Keys) -> None:
        self._objects, self._keys = objects, keys

    def holder(self, model_id: UUID) -> Holder | None:
        with suppress(NoObject, ValueError, KeyError, TypeError):
            values = json.loads(self._objects.get(self._keys.attempt(model_id)))
            return Holder(PurePosixPath(values["label"]), str(values["operation_id"]), int(values["fence"]))
        return None

    def adopt(self, attempt: Attempt) -> None:
        """Give an attempt the model's files. Raises `NotYet` if a later one of the same operation has them.

        Where a database was restored, the later one is no more: attempts are counted on until they have passed it.
        """
        holder = self.holder(attempt.model_id)
        if holder and holder.operation_id == str(attempt.operation_id) and holder.fence > attempt.fence:
            raise NotYet(Reason.CONFLICT, REPLACED)
        values = Holder.of(attempt)._asdict() | {"label": str(attempt.label)}
        self._objects.put(self._keys.attempt(attempt.model_id), json.dumps(values).encode())

    def check(self, attempt: Attempt) -> None:
        """Raise `TryAgain` if another attempt has the model's files, or nobody any more."""
        if self.holder(attempt.model_id) != Holder.of(attempt):
            raise replaced()

    def clear(self, model_id: UUID, folder: str | None) -> None:
        """Abort all uploads of a model, whose files are in `folder`, and forget who had them."""
        abandon(self._objects, self._recorded(model_id))
        if folder:
            # What was begun and not recorded has no bytes. Many servers list no uploads, or only those of a whole key.
            with suppress(OSError):
                for begun in list(self._objects.uploads(folder)):
                    self._objects.abort(begun.key, begun.upload)
        self._objects.delete_all([one.key for one in self._objects.below(self._keys.arriving(model_id))])

    def abort_lost(self, before: float) -> None:
        """Abort the uploads that were begun before that moment, in seconds since 1970, and that nothing records.

        Only where the server lists uploads. An upload is recorded before its first part is sent.
        """
        try:
            old = [begun for begun in self._objects.uploads(self._keys.models) if begun.since < before]
        except StoreAway:
            raise
        except OSError:
            return
        for begun in old:
            place = self._keys.place(begun.key)
            if place and not any(one.upload == begun.upload for one in self._recorded(place.model_id)):
                self._objects.abort(begun.key, begun.upload)
                log.info("aborted an upload that nothing records", key=begun.key)

    def _recorded(self, model_id: UUID) -> Iterator[Record]:
        return recorded(self._objects, self._keys, model_id)
