"""A part file on disk, and a durable record of which bytes it has, across processes and crashes.

The bytes are at their own offsets in `parts/<checksum>`. A second file, `parts/<checksum>.steps`, records how much of
each step of 4 MiB is there: a line with the number of a complete step, or that number and a count of bytes from the
step's beginning, each written only after the bytes were synced. So a kill or a power failure loses only what was not
synced and what was in network buffers: less than 64 MiB with eight connections. A regular stop loses nothing.
"""

import os
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

from app.storage.base import Arrival
from worker.download.allocation import allocate
from worker.download.flusher import Flusher
from worker.download.listing import HubFile
from worker.download.pieces import STEP, Piece, Pieces

_BLOCK = 1 << 20
"""Readable bytes that wake the hasher."""
_VECTOR = 512
"""Chunks per write call; the system's limit is 1024."""
_PATIENCE = 0.5
"""Seconds between polls of whether all was stopped."""


class Part:
    """One file that is being downloaded. Connections take pieces of it; a hasher reads it in order."""

    def __init__(self, file: HubFile, folder: Path, flusher: Flusher) -> None:
        self.file = file
        self.path = folder / key(file)
        self.location: str | None = None
        """Where the Hub redirected the last request for this file: the CDN's signed link."""
        self._flusher = flusher
        self._pieces = Pieces(file.size)
        self._changed = threading.Condition()
        self._writing = threading.Lock()
        self._journal = self.path.with_suffix(".steps")
        self._unsynced: set[int] = set()
        self._read_at: int | None = None
        self._in_one_piece = self._abandoned = self._over = False
        self._users = 0
        self._handle: int | None = None
        self._log: int | None = None
        self._load()
        self._pieces.begin()

    @property
    def counted(self) -> int:
        """Bytes that are here, including those in unfinished steps."""
        return sum(self._pieces.reached)

    @property
    def given_up(self) -> bool:
        """Whether no more bytes are needed."""
        return self._abandoned or self._over

    @property
    def is_taken(self) -> bool:
        """Whether no piece is left for another connection."""
        return self._in_one_piece or self.given_up or self._pieces.is_taken

    @property
    def free(self) -> int:
        """Bytes that no connection fetches yet, rounded up to steps."""
        return self._pieces.free

    def take(self, length: int) -> Piece | None:
        """Take the next piece of about `length` bytes; `None` if all is taken or the hasher is too far behind."""
        with self._changed:
            if self.is_taken:
                return None
            self._open()
            piece = self._pieces.take(length)
            if piece and self._handle is not None:
                allocate(self._handle, piece.start, piece.end - piece.start)
            return piece

    def divide(self, piece: Piece) -> Piece | None:
        """Take half of another connection's remaining bytes; `None` if too few are left."""
        with self._changed:
            return None if self._in_one_piece or self.given_up else self._pieces.divide(piece)

    def give_back(self, piece: Piece) -> None:
        """Return the rest of a piece, for other connections."""
        with self._changed:
            self._pieces.give_back(piece)

    def take_all(self) -> Piece | None:
        """Take the whole file, for a server that ignores ranges; `None` if another connection has it already."""
        with self._changed:
            mine, self._in_one_piece = not self._in_one_piece, True
            return Piece(0, self.file.size) if mine else None

    def abandon(self) -> None:
        """Give up the rest of it and wake all waiting threads."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    def pass_on(self) -> bool:
        """Abandon it if none of it is here or requested. Return whether it was abandoned."""
        with self._changed:
            if self.given_up or self._in_one_piece or not self._pieces.is_untouched:
                return False
            self._abandoned = True
            self._changed.notify_all()
            return True

    def write(self, piece: Piece, chunks: list[bytes]) -> int:
        """Write `chunks` at the start of `piece` and advance it. Return how many bytes were not there before.

        Bytes past the piece's end are left out: another connection fetches them. Nothing is written after `keep` or
        `drop`, which may be called at any moment.
        """
        with self._changed:
            if self._over:
                return 0
            self._users += 1
            start, end = piece.start, min(piece.start + sum(map(len, chunks)), piece.end)
        try:
            # The kernel admits one writer at a time to a file, and the others would spin.
            with self._writing:
                self._write(chunks, start, end)
        finally:
            with self._changed:
                self._users -= 1
                if not self._users:  # a thread may wait to close it
                    self._changed.notify_all()
        with self._changed:
            piece.start = end
            fresh = self._pieces.wrote(start, end)
            self._unsynced.update(range(start // STEP, -(-end // STEP)))
            self._wake()
        self._flusher.wrote(self, fresh)
        return fresh

    def read(self, block: bytearray, offset: int, stopped: threading.Event) -> int:
        """Wait for bytes at `offset`, read them into `block`, return their count; 0 at the end or after a stop."""
        if offset >= self.file.size:
            return 0
        with self._changed:
            self._open()
            self._pieces.followed = offset // STEP
            self._read_at = offset
            while not self._is_readable(offset):
                if stopped.is_set() or self._abandoned:
                    return 0
                self._changed.wait(_PATIENCE)
            self._read_at = None
            count = min(len(block), self._pieces.ready(offset))
        assert self._handle is not None  # noqa: S101  # opened above
        return os.preadv(self._handle, [memoryview(block)[:count]], offset)

    def sync(self) -> None:
        """Sync and record all that is here, including incomplete steps, for the next attempt."""
        with self._changed:
            if self._over or not self._unsynced or self._handle is None or self._log is None:
                return
            self._users += 1
            # Noted before the sync, so that every noted byte is synced.
            noted = {step: self._pieces.reached[step] for step in self._unsynced}
            self._unsynced.clear()
        try:
            os.fdatasync(self._handle)
            whole = {step for step, count in noted.items() if count == self._pieces.length(step)}
            lines = (f"{step}\n" if step in whole else f"{step} {count}\n" for step, count in noted.items())
            os.write(self._log, "".join(lines).encode())
        finally:
            with self._changed:
                self._users -= 1
                self._changed.notify_all()

    def keep(self, arrival: Arrival) -> None:
        """Sync the part and move it to its place."""
        self._open()
        assert self._handle is not None  # noqa: S101  # opened above
        os.fsync(self._handle)
        self.path.chmod(0o444)
        arrival.take(self.file.path, self.path)
        self._close()
        self._journal.unlink(missing_ok=True)

    def drop(self) -> None:
        """Remove what arrived."""
        self._close()
        self.path.unlink(missing_ok=True)
        self._journal.unlink(missing_ok=True)

    def _write(self, chunks: list[bytes], start: int, end: int) -> None:
        assert self._handle is not None  # noqa: S101  # it was taken
        for first in range(0, len(chunks), _VECTOR):
            some = chunks[first : first + _VECTOR]
            count = sum(map(len, some))
            if start + count <= end and os.pwritev(self._handle, some, start) == count:
                start += count
                continue
            # The last chunks, or a short write: the disk reports the reason when the rest is written.
            rest = memoryview(b"".join(some))[: end - start]
            while rest:
                written = os.pwrite(self._handle, rest, start)
                rest, start = rest[written:], start + written

    def _is_readable(self, offset: int) -> bool:
        """Whether enough is here for the hasher: a block, or the rest of the step."""
        ready = self._pieces.ready(offset)
        return ready >= _BLOCK or 0 < ready == self._pieces.length(offset // STEP) - offset % STEP

    def _wake(self) -> None:
        """Wake the waiting threads only if the hasher can go on: a wake-up per write would be wasted."""
        if self._read_at is not None and self._is_readable(self._read_at):
            self._read_at = None
            self._changed.notify_all()

    def _load(self) -> None:
        with suppress(FileNotFoundError):
            if self.path.stat().st_size != self.file.size:
                return
            # The last line may be torn: use complete ones only.
            for line in self._journal.read_text().split("\n")[:-1]:
                step, begun, count = line.partition(" ")
                if step.isdigit() and int(step) < self._pieces.count and (count.isdigit() or not begun):
                    self._pieces.note(int(step), int(count) if begun else STEP)

    def _open(self) -> None:
        if self._handle is not None:
            return
        if not any(self._pieces.reached):
            self._journal.unlink(missing_ok=True)
        # The disk may refuse any of this: then nothing stays open, and the next call raises again.
        with ExitStack() as opened:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            opened.callback(os.close, handle)
            os.ftruncate(handle, self.file.size)
            log = os.open(self._journal, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            opened.callback(os.close, log)
            # Text appended to a torn line would change its number.
            lines = os.pread(log, os.fstat(log).st_size, 0)
            os.ftruncate(log, lines.rfind(b"\n") + 1)
            opened.pop_all()
        self._handle, self._log = handle, log

    def _close(self) -> None:
        with self._changed:
            self._over = True
            self._changed.wait_for(lambda: not self._users)
        for handle in (self._handle, self._log):
            if handle is not None:
                os.close(handle)
        self._handle = self._log = None


def key(file: HubFile) -> str:
    """Return the name of the file's part file: equal for equal content."""
    return file.sha256 or file.blob_id
