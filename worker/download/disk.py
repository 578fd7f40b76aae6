"""A file on a local disk that is being downloaded, with a durable record of which bytes it has, across processes and crashes.

The bytes are at their own offsets in `parts/<checksum>`; the journal is `parts/<checksum>.steps`. So a kill or a power
failure loses only what was not synced and what was in network buffers: less than 64 MiB with eight connections. A
regular stop loses nothing.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from app.storage.incoming import LocalArrival
from worker.download.blocks import BLOCK, Blocks
from worker.download.checksums import Checksum
from worker.download.flusher import Flusher
from worker.download.journal import Journal
from worker.download.listing import HubFile
from worker.download.partial import key
from worker.download.preallocation import allocate

_AHEAD = 64 * BLOCK
"""Bytes that connections may be ahead of the hasher: on a fast link it would else starve and end long after them."""
_BUFFER = 1 << 20
"""Bytes that are hashed at once."""
_READABLE = 1 << 20
"""Readable bytes that wake the hasher."""
_VECTOR = 512
"""Chunks per write call; the system's limit is 1024."""
_POLL = 0.5
"""Seconds between polls of whether all was stopped."""


class DiskPartial:
    """Written by several threads at different offsets; read in order by a hasher."""

    def __init__(self, file: HubFile, arrival: LocalArrival, flusher: Flusher) -> None:
        self.file = file
        self.path = arrival.parts / key(file)
        self.blocks = Blocks(file.size)
        self._arrival = arrival
        self._flusher = flusher
        self._changed = threading.Condition()
        self._writing = threading.Lock()
        self._journal = Journal(self.path.with_suffix(".steps"))
        self._unsynced: set[int] = set()
        self._awaited: int | None = None
        """The offset that the hasher waits for."""
        self._abandoned = self._closed = False
        self._users = 0
        """Threads that use the handles without the lock."""
        self._handle: int | None = None
        with suppress(FileNotFoundError):
            if self.path.stat().st_size == file.size:
                self._journal.load(self.blocks)
        self._read_to = 0
        """The offset that the hasher is at."""
        self._began_at = self.blocks.first_incomplete * BLOCK

    @property
    def counted(self) -> int:
        return sum(self.blocks.reached)

    @property
    def is_given_up(self) -> bool:
        return self._abandoned or self._closed

    def reserve(self, start: int, end: int) -> int:
        with self._changed:
            # Bytes that were here at the start must not delay the rest.
            if self._began_at <= self._read_to <= start - _AHEAD or self._closed:
                return start
            allocate(self._open(), start, end - start)
            return end

    def write(self, chunks: Sequence[bytes], start: int, end: int) -> int:
        end = min(start + sum(map(len, chunks)), end)
        with self._using() as handle:
            if handle is None:
                return 0
            # The kernel admits one writer at a time to a file, and the others would spin.
            with self._writing:
                _write(handle, chunks, start, end)
        with self._changed:
            fresh = self.blocks.add(start, end)
            self._unsynced.update(range(start // BLOCK, -(-end // BLOCK)))
            self._wake()
        self._flusher.wrote(self, fresh)
        return fresh

    def hash(self, stopped: threading.Event) -> Checksum | None:
        checksum, buffer, offset = Checksum(self.file), bytearray(_BUFFER), 0
        view = memoryview(buffer)
        while count := self.read(buffer, offset, stopped):
            checksum.update(view[:count])
            offset += count
        return checksum if offset == self.file.size else None

    def read(self, buffer: bytearray, offset: int, stopped: threading.Event) -> int:
        """Wait for bytes at `offset`, read them into `buffer`, return their count; 0 at the end or after a stop."""
        if offset >= self.file.size:
            return 0
        with self._changed:
            handle = self._open()
            self._read_to = self._awaited = offset
            while not self._is_readable(offset):
                if stopped.is_set() or self._abandoned:
                    return 0
                self._changed.wait(_POLL)
            self._awaited = None
            count = min(len(buffer), self.blocks.ready(offset))
        return os.preadv(handle, [memoryview(buffer)[:count]], offset)

    def abandon(self) -> None:
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    def sync(self) -> None:
        """Sync and record all that is here, including incomplete blocks, for the next attempt."""
        with self._changed:
            # Noted before the sync, so that every noted byte is synced.
            noted = [(block, self.blocks.reached[block]) for block in self._unsynced]
            self._unsynced.clear()
        if not noted:
            return
        with self._using() as handle:
            if handle is not None:
                os.fdatasync(handle)
                self._journal.append(self.blocks, noted)

    def keep(self) -> None:
        with self._changed:
            handle = self._open()
        os.fsync(handle)
        self.path.chmod(0o444)
        self._arrival.take(self.file.path, self.path)
        self._close()
        self._journal.remove()

    def drop(self) -> None:
        self._close()
        self.path.unlink(missing_ok=True)
        self._journal.remove()

    @contextmanager
    def _using(self) -> Iterator[int | None]:
        """Keep the file open during the block; yield `None` after `keep` or `drop`."""
        with self._changed:
            handle = None if self._closed else self._open()
            self._users += 1
        try:
            yield handle
        finally:
            with self._changed:
                self._users -= 1
                if not self._users:  # a thread may wait to close it
                    self._changed.notify_all()

    def _is_readable(self, offset: int) -> bool:
        """Whether enough is here for the hasher, or the rest of the block."""
        ready = self.blocks.ready(offset)
        return ready >= _READABLE or 0 < ready == self.blocks.length(offset // BLOCK) - offset % BLOCK

    def _wake(self) -> None:
        """Wake the waiting threads only if the hasher can go on: a wake-up per write would be wasted."""
        if self._awaited is not None and self._is_readable(self._awaited):
            self._awaited = None
            self._changed.notify_all()

    def _open(self) -> int:
        if self._handle is not None:
            return self._handle
        # The disk may refuse any of this: then nothing stays open, and the next call raises again.
        with ExitStack() as opened:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            opened.callback(os.close, handle)
            os.ftruncate(handle, self.file.size)
            self._journal.open(anew=not any(self.blocks.reached))
            opened.pop_all()
        self._handle = handle
        return handle

    def _close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._users)
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
        self._journal.close()


def _write(handle: int, chunks: Sequence[bytes], start: int, end: int) -> None:
    for first in range(0, len(chunks), _VECTOR):
        some = chunks[first : first + _VECTOR]
        count = sum(map(len, some))
        if start + count <= end and os.pwritev(handle, some, start) == count:
            start += count
            continue
        # The last chunks, or a short write: the disk reports the reason when the rest is written.
        rest = memoryview(b"".join(some))[: end - start]
        while rest:
            written = os.pwrite(handle, rest, start)
            rest, start = rest[written:], start + written
