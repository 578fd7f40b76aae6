"""Copies one published model from a store to another, and verifies what is on both sides.

Every byte is hashed as it is read, and read back before the copy is published. What an interrupted copy left is used:
whole files, and of a large one what was written or sent of it.
"""

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, BinaryIO
from uuid import UUID

from app.storage.base import Attempt, OpenFile, Store, StoreAway
from app.storage.incoming import Arrival, LocalArrival, UploadArrival
from app.storage.manifests import File, Manifest

_BLOCK = 8 << 20
"""Bytes that are read at a time, and the most bytes of a file that is written at once."""
_CHUNK = 1 << 20
_AT_ONCE = 3
"""Blocks that are read ahead, and parts that are sent, at the same time."""
_RECORDED = 2.0
"""Seconds after which is recorded what was sent."""
_TRIES = 5
"""Attempts to read a block from a store that is away; each waits a second longer than the one before."""


class CannotCopy(Exception):
    """A file can't be copied. The message says why, and begins with its path."""


class Transfer:
    """Copies models from `source` to `target`. `told` is called with the number of bytes that were read."""

    def __init__(self, source: Store, target: Store, told: Callable[[int], None]) -> None:
        self._source, self._target, self._told = source, target, told
        self._places: dict[str, str] = {}
        """A place in the target for each content that is published there."""

    def lacking(self, manifest: Manifest, *, deep: bool) -> Sequence[File] | None:
        """Return the files that differ in the target's copy, none if it is complete; None if there is no copy.

        They are compared by the target's own manifest and their sizes; if `deep`, by what they hold.
        """
        if not self._target.has(manifest.model_id):
            return None
        copy = next(self._target.records(manifest.model_id), None)
        recorded = {(file.path, file.size, file.sha256) for file in copy.files} if copy else set()
        wrong = [
            file
            for file in manifest.files
            if file[:3] not in recorded or not self._holds(manifest.model_id, file, deep=deep)
        ]
        self._learn(manifest, wrong)
        return wrong

    def bring(self, attempt: Attempt, files: Sequence[File], *, mends: bool) -> Sequence[str]:
        """Copy files of a model. Return a line for each that could not be copied: then there is nothing to publish.

        Raises `OSError` if the target can't be used, `TryAgain` if another process copies the model.
        """
        wrong: dict[str, str] = {}
        with self._target.arrival(attempt, mends=mends) as arrival:
            arrival.prune({file.path: file.size for file in files})
            unread = list(files)
            # What was stored wrongly is copied once more.
            for _ in range(2):
                for file in unread:
                    try:
                        if not arrival.has(file.path, file.size):
                            self._bring(arrival, attempt.model_id, file)
                    except CannotCopy as error:
                        wrong[file.path] = str(error)
                if wrong:
                    return list(wrong.values())
                arrival.sync()
                unread = [file for file in unread if not _reads_as(arrival, file)]
                for file in unread:
                    arrival.remove(file.path)
        return [f"{file.path} is read back with other bytes from the copy" for file in unread]

    def publish(self, attempt: Attempt, manifest: Manifest, *, mends: bool) -> None:
        """Publish what `bring` brought. Raises `TryAgain` if another process copies the model, and `OSError`."""
        if mends:
            self._target.mend(attempt, manifest)
        else:
            self._target.publish(attempt, manifest)
        self._target.link(attempt.label, attempt.model_id)
        self._learn(manifest, ())

    def _learn(self, manifest: Manifest, wrong: Sequence[File]) -> None:
        for file in manifest.files:
            if file not in wrong:
                self._places[file.sha256] = self._target.copy_of(manifest.model_id, file.path)

    def _holds(self, model_id: UUID, file: File, *, deep: bool) -> bool:
        try:
            opened = self._target.open(model_id, file.path)
        except FileNotFoundError:
            return False
        if not deep or opened.size != file.size:
            opened.close()
            return opened.size == file.size
        with opened.reader() as reader:
            return _sha256(reader) == file.sha256

    def _bring(self, arrival: Arrival, model_id: UUID, file: File) -> None:
        place = self._places.get(file.sha256)
        if place and arrival.is_at(place, file.size) and arrival.link(file.path, place):
            return
        try:
            opened = self._source.open(model_id, file.path)
        except FileNotFoundError:
            raise CannotCopy(f"{file.path} is missing") from None
        except OSError as error:
            raise _unreadable(file, error) from error
        try:
            if opened.size != file.size:
                raise CannotCopy(f"{file.path} has {opened.size} bytes instead of {file.size}")
            self._copy(arrival, file, opened)
        finally:
            opened.close()

    def _copy(self, arrival: Arrival, file: File, opened: OpenFile) -> None:
        if file.size <= (arrival.largest_put if isinstance(arrival, UploadArrival) else _BLOCK):
            data = b"".join(self._blocks(file, opened, _BLOCK))
            _check(file, hashlib.sha256(data))
            arrival.put(file.path, data)
        elif isinstance(arrival, UploadArrival):
            self._send(arrival, file, opened)
        elif isinstance(arrival, LocalArrival):  # there are no others
            self._write(arrival, file, opened)

    def _send(self, arrival: UploadArrival, file: File, opened: OpenFile) -> None:
        """Send a file in parts. Those that an earlier copy sent are only read."""
        upload = arrival.upload(file.path, file.size, file.sha256)
        there, recorded = upload.parts, time.monotonic()
        sha256 = hashlib.sha256()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            sending: deque[Future[None]] = deque()
            for number, block in enumerate(self._blocks(file, opened, upload.part_size), 1):
                sha256.update(block)
                if number <= there:
                    continue
                if len(sending) == _AT_ONCE:
                    sending.popleft().result()
                    if time.monotonic() - recorded > _RECORDED:
                        upload.record(number - _AT_ONCE, b"")
                        recorded = time.monotonic()
                sending.append(pool.submit(upload.send, number, block))
            while sending:
                sending.popleft().result()
        try:
            _check(file, sha256)
        except CannotCopy:
            upload.abort()
            raise
        upload.complete()

    def _write(self, arrival: LocalArrival, file: File, opened: OpenFile) -> None:
        """Write a file. What an earlier copy wrote of it is only hashed."""
        place = arrival.parts / f"{file.sha256}.copy"
        with place.open("ab+") as output:
            output.seek(0)
            sha256 = hashlib.file_digest(output, "sha256")
            for block in self._blocks(file, opened, _BLOCK, output.tell()):
                sha256.update(block)
                output.write(block)
        try:
            _check(file, sha256)
        except CannotCopy:
            place.unlink()
            raise
        arrival.take(file.path, place)
        arrival.accept(file.path)

    def _blocks(self, file: File, opened: OpenFile, block: int, start: int = 0) -> Iterator[bytes]:
        """Yield a file's bytes from `start` on, in blocks of that size, some of which are read ahead."""

        def read(offset: int) -> bytes:
            wanted = min(block, file.size - offset)
            data = _patiently(file, lambda: opened.read(offset, wanted))
            if len(data) != wanted:
                raise CannotCopy(f"{file.path} became shorter while it was read")
            return data

        offsets = iter(range(start, file.size, block))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            ahead = deque(pool.submit(read, offset) for offset in islice(offsets, _AT_ONCE))
            while ahead:
                data = ahead.popleft().result()
                ahead.extend(pool.submit(read, offset) for offset in islice(offsets, 1))
                self._told(len(data))
                yield data


def _patiently(file: File, read: Callable[[], bytes]) -> bytes:
    for tries in range(_TRIES):
        time.sleep(tries)
        try:
            return read()
        except StoreAway as error:
            away = error
        except OSError as error:
            raise _unreadable(file, error) from error
    raise _unreadable(file, away) from away


def _unreadable(file: File, error: OSError) -> CannotCopy:
    return CannotCopy(f"{file.path} can't be read: {error.strerror}")


def _check(file: File, digest: Any) -> None:
    if digest.hexdigest() != file.sha256:
        raise CannotCopy(f"{file.path} differs from its checksum")


def _reads_as(arrival: Arrival, file: File) -> bool:
    with arrival.open(file.path) as reader:
        return _sha256(reader) == file.sha256


def _sha256(reader: BinaryIO) -> str:
    digest = hashlib.sha256()
    while data := reader.read(_CHUNK):
        digest.update(data)
    return digest.hexdigest()
