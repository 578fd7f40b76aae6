"""Uploads in parts that outlive their process: what is sent is recorded beside the model, as an object.

A record names an upload, and how much of it an attempt had sent and hashed, from the first part on. It is written
before the first part is sent, under the attempt's own name. So an attempt that was replaced overwrites nothing of its
successor's, and no upload is lost: whoever removes a model's files aborts all that is recorded.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from app.domain.errors import Reason, TryAgain
from app.storage.incoming import Bytes
from app.storage.s3.errors import Changed, NoObject, NoUpload
from app.storage.s3.keys import Keys
from app.storage.s3.objects import Head, Objects

_MIB = 1 << 20
_SMALLEST = 8 * _MIB
_STEP = 4 * _MIB
_MOST_PARTS = 10_000
"""The protocol's limit."""
REPLACED = "Another attempt has taken over this download."


@dataclass(frozen=True, slots=True)
class Record:
    """`place`: its own key; `target`: the file's. `etags`: of the first parts; `state`: the hash's after them."""

    place: str
    target: str
    path: str
    size: int
    sha256: str | None
    upload: str
    part_size: int
    etags: Sequence[str] = ()
    state: bytes = b""

    @property
    def count(self) -> int:
        """The number of parts of the whole file."""
        return -(-self.size // self.part_size)

    def to_json(self) -> bytes:
        values = {name: getattr(self, name) for name in self.__slots__ if name not in {"place", "state"}}
        return json.dumps({**values, "state": base64.b64encode(self.state).decode()}).encode()

    @classmethod
    def from_json(cls, place: str, text: bytes) -> "Record":
        """Parse a record. Raises `ValueError`."""
        try:
            values: dict[str, Any] = json.loads(text)
            return cls(place=place, state=base64.b64decode(values.pop("state")), **values)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError("it is no record of an upload") from error


def part_size(size: int) -> int:
    """Return the bytes of a part of a file with `size` bytes. The same for every attempt, so that it can go on."""
    least = -(-size // _MOST_PARTS)
    return max(_SMALLEST, -(-least // _STEP) * _STEP)


def recorded(objects: Objects, keys: Keys, model_id: UUID) -> Iterator[Record]:
    """Yield all that is recorded of a model's uploads."""
    for one in objects.below(keys.arriving(model_id)):
        if one.key != keys.attempt(model_id):
            # Another process removes it, or it was written by a later version.
            with suppress(NoObject, ValueError):
                yield Record.from_json(one.key, objects.get(one.key))


class S3Upload:
    """One file's upload. `earlier`: what is recorded of the file by earlier attempts.

    `arrived` is called when the file is there, with its head.
    """

    def __init__(
        self, objects: Objects, fresh: Record, earlier: Sequence[Record], arrived: Callable[[Head], None]
    ) -> None:
        self._objects, self._arrived = objects, arrived
        self._earlier = earlier
        self._record = _furthest(objects, fresh, earlier)
        self._begun = False
        self._beginning = threading.Lock()
        self._etags = dict(enumerate(self._record.etags, 1))

    @property
    def part_size(self) -> int:
        return self._record.part_size

    @property
    def parts(self) -> int:
        return len(self._record.etags)

    @property
    def state(self) -> bytes:
        return self._record.state

    def send(self, number: int, data: Bytes) -> None:
        record = self._begin()
        try:
            self._etags[number] = self._objects.send(record.target, record.upload, number, data)
        except NoUpload:
            raise replaced() from None

    def copy(self, source: str, etag: str) -> None:
        """Send all parts from another object of the bucket, by the server. Raises `Changed`."""
        record = self._begin()
        for number in range(1, record.count + 1):
            start = (number - 1) * record.part_size
            end = min(start + record.part_size, record.size)
            self._etags[number] = self._objects.copy_part(
                record.target, record.upload, number, source, etag, start, end
            )

    def record(self, parts: int, state: bytes) -> None:
        etags = [self._etags[number] for number in range(1, parts + 1)]
        self._record = replace(self._begin(), etags=etags, state=state)
        self._write()

    def complete(self) -> None:
        record = self._begin()
        etags = [self._etags[number] for number in range(1, record.count + 1)]
        try:
            etag = self._objects.complete(record.target, record.upload, etags)
            head = Head(record.size, etag, record.sha256)
        except NoUpload:
            head = self._completed(etags)
        except Changed:
            self.abort()
            raise replaced() from None
        self._arrived(head)
        self._objects.delete(record.place)

    def abort(self) -> None:
        abandon(self._objects, [*self._earlier, *([self._record] if self._record.upload else [])])

    def _begin(self) -> Record:
        """Create the upload, unless there is one, and record it; then remove what other attempts left of the file."""
        with self._beginning:
            if not self._begun:
                if not self._record.upload:
                    upload = self._objects.begin(self._record.target, self._record.sha256)
                    self._record = replace(self._record, upload=upload)
                self._write()
                others = [one for one in self._earlier if one.upload != self._record.upload]
                abandon(self._objects, others)
                self._objects.delete_all([one.place for one in self._earlier if one.place != self._record.place])
                self._begun = True
            return self._record

    def _write(self) -> None:
        self._objects.put(self._record.place, self._record.to_json())

    def _completed(self, etags: Sequence[str]) -> Head:
        """Return the file's head if an earlier request, whose answer was lost, completed it. Raises `TryAgain`."""
        with suppress(NoObject):
            head = self._objects.head(self._record.target)
            known = {self._record.sha256} - {None}
            if head.size == self._record.size and (head.sha256 in known or head.etag == _whole(etags)):
                return head
        raise replaced()


def _furthest(objects: Objects, fresh: Record, earlier: Sequence[Record]) -> Record:
    """Return the record that goes furthest and whose parts are all there, as the new attempt's own; else `fresh`."""
    for one in sorted(earlier, key=lambda record: len(record.etags), reverse=True):
        same = (one.size, one.sha256, one.part_size) == (fresh.size, fresh.sha256, fresh.part_size)
        if same and one.target == fresh.target:
            with suppress(NoUpload, NoObject):
                there: Mapping[int, str] = objects.parts(one.target, one.upload)
                if all(there.get(number) == etag for number, etag in enumerate(one.etags, 1)):
                    return replace(one, place=fresh.place)
    return fresh


def abandon(objects: Objects, records: Iterable[Record]) -> None:
    """Abort uploads, and forget what is recorded of them."""
    for one in records:
        objects.abort(one.target, one.upload)
        objects.delete(one.place)


def _whole(etags: Sequence[str]) -> str:
    """Return the ETag that most servers give an object of these parts."""
    try:
        joined = b"".join(bytes.fromhex(etag.strip('"')) for etag in etags)
    except ValueError:  # encrypted with a key of its own
        return ""
    return f'"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(etags)}"'


def replaced() -> TryAgain:
    return TryAgain(Reason.CONFLICT, REPLACED)
