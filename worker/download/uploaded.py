"""A file that is sent to a store, part by part, while it arrives: no byte of it is on a local disk.

Ranges are written into a buffer for each part. A complete part is sent by one of a few threads, and hashed in order.
Then it is recorded, with the hash's state, and its buffer is free. So the buffers bound both the memory and what a later
attempt fetches again after a kill. The file appears in the store, whole, when its checksum was right.

Parts are opened in order, and only while the file is hashed. So every part that holds a buffer gets its bytes, is sent
and hashed, whatever other files hold: two files can't wait for each other.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from app.storage.incoming import Upload, UploadArrival
from worker.download.blocks import BLOCK, Blocks
from worker.download.buffers import Buffers
from worker.download.checksums import Checksum, checksum_of
from worker.download.listing import HubFile
from worker.download.midstate import ResumableChecksum, is_possible

_EVERY = 2.0
"""Seconds after which parts are recorded, however few they are."""
_POLL = 0.5
"""Seconds between polls of whether all was stopped."""

T = TypeVar("T")


@dataclass(slots=True)
class _Part:
    """`missing`: bytes that have not arrived."""

    buffer: bytearray
    view: memoryview
    missing: int
    is_sent: bool = False


class UploadedPartial:
    """Written by several threads at different offsets; sent by `senders`; hashed in order by a hasher."""

    def __init__(self, file: HubFile, arrival: UploadArrival, buffers: Buffers, senders: Executor) -> None:
        self.file = file
        self.blocks = Blocks(file.size)
        self._arrival, self._buffers, self._senders = arrival, buffers, senders
        self._upload = None if file.size <= arrival.largest_put else self._find()
        """None: the file is put whole."""
        self._size = self._upload.part_size if self._upload else arrival.largest_put
        self._count = -(-file.size // self._size)
        parts, state = (self._upload.parts, self._upload.state) if self._upload else (0, b"")
        self._is_unhashed = parts > 0 and not ResumableChecksum.goes_on(file, state)
        """Whether earlier parts are here without the hash's state: then the whole file is read back in the end."""
        self._checksum = self._begin_hash(b"" if self._is_unhashed else state)
        for block in range(-(-min(parts * self._size, file.size) // BLOCK)):
            self.blocks.note(block, BLOCK)
        self._opened = self._sent = self._hashed = self._recorded = parts
        """The parts before these numbers are opened, sent, hashed, and recorded."""
        self._parts: dict[int, _Part] = {}
        """By their numbers, from 0, while they have a buffer."""
        self._states: dict[int, bytes] = {}
        """The states of the hash after so many parts."""
        self._changed = threading.Condition()
        self._recorder = threading.Lock()
        self._is_recording = self._is_hashing = self._is_whole = self._abandoned = self._closed = False
        self._recorded_at = time.monotonic()
        self._sending = 0
        self._stopped = threading.Event()
        self._error: Exception | None = None

    @property
    def counted(self) -> int:
        return sum(self.blocks.reached)

    @property
    def is_given_up(self) -> bool:
        return self._abandoned or self._closed

    def reserve(self, start: int, end: int) -> int:
        with self._changed:
            if not self._is_hashing or self.is_given_up or self._error:
                return start
            while self._opened <= start // self._size:
                if not self._open(beyond=False):
                    return start
            # Short ranges: parts become complete one after the other, and are sent while others arrive.
            return min(end, (start // BLOCK + 1) * BLOCK)

    def write(self, chunks: Sequence[bytes], start: int, end: int) -> int:
        size = sum(map(len, chunks))
        end = min(start + size, end)
        if end - start == size and start // BLOCK == (end - 1) // BLOCK:
            return self._fill(chunks, start, end)
        data, fresh, first = memoryview(b"".join(chunks)), 0, start
        while first < end:
            last = min((first // BLOCK + 1) * BLOCK, end)
            fresh += self._fill([data[first - start : last - start]], first, last)
            first = last
        return fresh

    def abandon(self) -> None:
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    def hash(self, stopped: threading.Event) -> Checksum | None:
        with self._changed:
            self._stopped, self._is_hashing = stopped, True
        for number in range(self._hashed, self._count):
            part = self._wait_for(partial(self._complete, number))
            if part is None:
                return None
            self._add(number, part)
        if self._upload is None:
            return self._checksum
        if not self._wait_for(lambda: self._sent == self._count):
            return None
        if not self._is_unhashed:
            return self._checksum
        self._upload.complete()
        self._is_whole = True
        with self._arrival.open(self.file.path) as stored:
            return checksum_of(self.file, stored)

    def sync(self) -> None:
        with self._recorder:  # one at a time: an older record must not replace a newer one
            with self._changed:
                ready = min(self._sent, self._hashed)
                if self._upload is None or self.is_given_up or self._is_whole or ready <= self._recorded:
                    return
                state = self._states.get(ready, b"")
            self._upload.record(ready, state)
            with self._changed:
                for number in range(self._recorded, ready):
                    self._buffers.give_back(self._parts.pop(number).buffer)
                    self._states.pop(number, None)
                self._recorded, self._recorded_at = ready, time.monotonic()
                self._changed.notify_all()

    def keep(self) -> None:
        self.sync()  # a store may take long to make one file of the parts: other files can use the memory meanwhile
        with self._recorder:
            if self._upload is None:
                self._arrival.put(self.file.path, self._parts[0].view)
            elif not self._is_whole:
                self._upload.complete()
            self._close()

    def drop(self) -> None:
        with self._recorder:
            self._close()
            if self._is_whole:
                self._arrival.remove(self.file.path)
            elif self._upload:
                self._upload.abort()

    def _find(self) -> Upload:
        """Return the upload with what earlier attempts sent."""
        # Later attempts trust its checksum: it is told only if this one verifies the file before it is complete.
        return self._arrival.upload(self.file.path, self.file.size, self.file.sha256 if is_possible() else None)

    def _begin_hash(self, state: bytes) -> Checksum:
        return ResumableChecksum(self.file, state) if is_possible() else Checksum(self.file)

    def _open(self, *, beyond: bool) -> bool:
        """Open the next part. Return False if there is no memory for it now."""
        number = self._opened
        buffer = self._buffers.take(self._size, beyond=beyond)
        if buffer is None:
            return False
        size = min(self._size, self.file.size - number * self._size)
        self._parts[number] = _Part(buffer, memoryview(buffer)[:size], size)
        self._opened += 1
        return True

    def _fill(self, chunks: Sequence[bytes | memoryview], start: int, end: int) -> int:
        """Write exactly `chunks`, which are of one block. Bytes that are here are not written again."""
        with self._changed:
            number = start // self._size
            # A server that ignores ranges sends on whether there is memory or not: then this waits. Its file may
            # always have one buffer, so its parts alone are waited for, and they need no more bytes.
            while number >= self._opened and not self.is_given_up and not self._stopped.is_set():
                if not self._open(beyond=not self._parts):
                    self._changed.wait(_POLL)
            part = self._parts.get(number)
            here = start // BLOCK * BLOCK + self.blocks.reached[start // BLOCK]
            if part is None or here >= end:
                return 0
            if here > start:
                chunks, start = [memoryview(b"".join(chunks))[here - start :]], here
            offset = start - number * self._size
            for chunk in chunks:
                stop = offset + len(chunk)
                part.view[offset:stop] = chunk
                offset = stop
            fresh = self.blocks.add(start, end)
            part.missing -= fresh
            if not part.missing:
                self._arrived(number)
            return fresh

    def _arrived(self, number: int) -> None:
        """Send a complete part, and wake the hasher."""
        if self._upload:
            self._sending += 1
            self._senders.submit(self._send, self._upload, number, self._parts[number])
        self._changed.notify_all()

    def _send(self, upload: Upload, number: int, part: _Part) -> None:
        try:
            if not self.is_given_up and not self._error:
                upload.send(number + 1, part.view)
                part.is_sent = True
        except Exception as error:  # noqa: BLE001  # `hash` raises it
            self._error = error
        with self._changed:
            self._sending -= 1
            while (first := self._parts.get(self._sent)) and first.is_sent:
                self._sent += 1
            self._settle()
            self._changed.notify_all()

    def _add(self, number: int, part: _Part) -> None:
        """Hash a complete part."""
        if not self._is_unhashed:
            self._checksum.update(part.view)
        with self._changed:
            self._hashed = number + 1
            if isinstance(self._checksum, ResumableChecksum) and not self._is_unhashed:
                self._states[number + 1] = self._checksum.state
            self._settle()

    def _settle(self) -> None:
        """Have the parts that are sent and hashed recorded if it is time."""
        ready = min(self._sent, self._hashed)
        fresh = ready - self._recorded
        if not fresh or ready == self._count or self._is_recording or self.is_given_up:
            return
        if self._buffers.worth_freeing(fresh) or time.monotonic() - self._recorded_at >= _EVERY:
            self._is_recording = True
            self._senders.submit(self._record)

    def _record(self) -> None:
        try:
            self.sync()
        except Exception as error:  # noqa: BLE001  # likewise
            self._error = error
        with self._changed:
            self._is_recording = False
            self._changed.notify_all()

    def _complete(self, number: int) -> _Part | None:
        part = self._parts.get(number)
        return part if part and not part.missing else None

    def _wait_for(self, condition: Callable[[], T]) -> T | None:
        """Wait until `condition` is true; return its value, or None if no more is wanted. Raise a sender's error."""
        with self._changed:
            while not (value := condition()):
                if self._error:
                    raise self._error
                if self._abandoned or self._stopped.is_set():
                    return None
                self._changed.wait(_POLL)
            return value

    def _close(self) -> None:
        """Free all buffers, once nothing is sent from them any more."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._sending)
            for part in self._parts.values():
                self._buffers.give_back(part.buffer)
            self._parts.clear()
            self._changed.notify_all()
