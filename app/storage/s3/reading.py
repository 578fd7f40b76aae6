"""Reads objects: in ranges, or from the beginning to the end over connections that break."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import RawIOBase
from typing import Any, BinaryIO, cast

from app.storage.base import StoreAway
from app.storage.s3.objects import Objects

_TRIES = 5
"""Connections in a row that may break without a byte."""


class ObjectFile:
    """An object, open for reading. Only the object that had this ETag is read, never what replaced it."""

    fd = None

    def __init__(self, objects: Objects, key: str, size: int, etag: str) -> None:
        self.size = size
        self._objects, self._key, self._etag = objects, key, etag

    def read(self, offset: int, count: int) -> bytes:
        end = min(offset + count, self.size)
        if offset >= end:
            return b""
        try:
            return self._objects.read(self._key, self._etag, offset, end)
        except StoreAway:
            # botocore repeats a request that got no answer, but not one whose answer breaks off in the middle.
            return self._objects.read(self._key, self._etag, offset, end)

    @contextmanager
    def reader(self) -> Iterator[BinaryIO]:
        with ObjectReader(self._objects, self._key, self.size, self._etag) as reader:
            yield cast("BinaryIO", reader)

    def close(self) -> None:
        """Nothing is open between two reads."""


class ObjectReader(RawIOBase):
    """An object's bytes, from the beginning. Where a connection breaks, the next one goes on."""

    def __init__(self, objects: Objects, key: str, size: int, etag: str) -> None:
        self._objects, self._key, self._size, self._etag = objects, key, size, etag
        self._offset = self._broken = 0
        # At once, since the object may be removed before the first byte is asked for.
        self._stream: Any = self._open()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        while self._offset < self._size and view:
            data = self._some(len(view))
            if data:
                view[: len(data)] = data
                self._offset, self._broken = self._offset + len(data), 0
                return len(data)
            self._broken += 1
            if self._broken == _TRIES:
                raise StoreAway(None, f"the object store breaks off in the middle of {self._key!r}")
            self._shut()
            self._stream = self._open()
        return 0

    def close(self) -> None:
        self._shut()
        super().close()

    def _some(self, count: int) -> bytes:
        """Return the next bytes; none if the connection broke."""
        try:
            with self._objects.translated():
                return bytes(self._stream.read(count)) if self._stream else b""
        except StoreAway:
            return b""

    def _open(self) -> Any:
        return self._objects.stream(self._key, self._etag, self._offset) if self._offset < self._size else None

    def _shut(self) -> None:
        if getattr(self, "_stream", None):
            self._stream.close()
            self._stream = None
