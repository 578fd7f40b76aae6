"""Tries, before the first byte is fetched, whether an object store does what a store needs of it."""

import errno
from collections.abc import Callable
from uuid import uuid4

import structlog

from app.domain.errors import Failed, Reason
from app.storage.base import StoreAway
from app.storage.s3.errors import Changed
from app.storage.s3.keys import Keys
from app.storage.s3.objects import Objects

TRY_AGE = 3600.0
"""Age in seconds from which an object of a try is a leftover of a process that was killed."""
_DATA = b"Model Depot tries what this object store can do."

log = structlog.get_logger()


class Abilities:
    """What the server can do: tried once."""

    def __init__(self, objects: Objects, keys: Keys) -> None:
        self._objects, self._keys = objects, keys
        self._tried = False

    def check(self, advice: str) -> None:
        """Raise `Failed` if a needed ability is missing; log which of the others are. Raises `OSError` if it is away.

        In a full bucket nothing can be tried, and everything is assumed to work.
        """
        if self._tried:
            return
        key = f"{self._keys.tries}{uuid4().hex}"
        for what, attempt in (("keep objects", self._whole), ("take objects in parts", self._in_parts)):
            try:
                attempt(key)
            except StoreAway:
                raise
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    return
                message = f"The object store does not {what} as it has to: {error.strerror}. {advice}"
                raise Failed(Reason.FAULT, message) from error
            finally:
                self._objects.delete(key)
        optional: dict[str, Callable[[str], bool]] = {
            "conditional writes": self._refuses_overwriting,
            "deleting several objects at once": self._deletes_batches,
        }
        lacks = [what for what, can in optional.items() if not can(key)]
        log.info("the object store was tried", endpoint=self._objects.endpoint, lacks=lacks or None)
        self._tried = True

    def _whole(self, key: str) -> None:
        etag = self._objects.put(key, _DATA, verified=True)
        head = self._objects.head(key)
        if head.sha256 is None or head.etag != etag:
            # JuiceFS's gateway does so, unless it is told otherwise.
            raise OSError(errno.EIO, "it forgets ETags or metadata (start JuiceFS with --keep-etag --object-meta)")
        if self._objects.get(key) != _DATA or self._objects.read(key, etag, 6, 11) != _DATA[6:11]:
            raise OSError(errno.EIO, "it returned other bytes")
        if [one.key for one in self._objects.below(key)] != [key]:
            raise OSError(errno.EIO, "it did not list an object")

    def _in_parts(self, key: str) -> None:
        upload = self._objects.begin(key, "0" * 64)
        etag = self._objects.send(key, upload, 1, _DATA)
        if self._objects.parts(key, upload) != {1: etag}:
            raise OSError(errno.EIO, "it did not list a part")
        self._objects.complete(key, upload, [etag])
        if self._objects.get(key) != _DATA:
            raise OSError(errno.EIO, "it returned other bytes")
        self._objects.abort(key, self._objects.begin(key, None))

    def _refuses_overwriting(self, key: str) -> bool:
        try:
            self._objects.put(key, _DATA)
            self._objects.put(key, _DATA, fresh=True)
        except Changed:
            return True
        except OSError:
            pass
        return False

    def _deletes_batches(self, key: str) -> bool:
        self._objects.delete_all([key])
        return self._objects.batches
