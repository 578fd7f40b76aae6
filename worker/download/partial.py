"""A file in flight on disk: which of its bytes are there, whoever wrote them and whatever died meanwhile.

The bytes stand at their own offsets in `parts/<checksum>`. A second file, `parts/<checksum>.steps`, says how much of
which step of 4 MiB is there: a line with the number of a step that is complete, or that number and a count of bytes from
the step's beginning, each written only after the bytes were synchronised. So neither a kill nor a power failure loses
more than what was not synchronised yet and what the network's buffers held: less than 64 MiB with eight connections.
Who is asked to stop loses nothing.
"""

import os
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

from worker.download.allocation import allocate
from worker.download.flusher import Flusher
from worker.download.listing import HubFile
from worker.download.pieces import STEP, Piece, Pieces

_BLOCK = 1 << 20
"""Bytes that are worth waking the hasher for."""
_VECTOR = 512
"""Chunks that one call writes; systems take 1024."""
_PATIENCE = 0.5
"""Seconds between looks whether all was stopped."""


class Part:
    """One file in flight. Connections take pieces of it; a hasher follows them in order."""

    def __init__(self, file: HubFile, folder: Path, flusher: Flusher) -> None:
        self.file = file
        self.path = folder / key(file)
        self.location: str | None = None
        """Where the Hub redirected the last request for this file: its CDN's signed link."""
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
        """Bytes of it that are here, those in unfinished steps too."""
        return sum(self._pieces.reached)

    @property
    def given_up(self) -> bool:
        """Whether more bytes of it are of no use."""
        return self._abandoned or self._over

    @property
    def is_taken(self) -> bool:
        """Whether nobody else is needed for it."""
        return self._in_one_piece or self.given_up or self._pieces.is_taken

    @property
    def free(self) -> int:
        """Bytes that nobody fetches yet, or somewhat more."""
        return self._pieces.free

    def take(self, length: int) -> Piece | None:
        """The next bytes to fetch, about `length`; `None` when it is taken, or the hasher is too far behind."""
        with self._changed:
            if self.is_taken:
                return None
            self._open()
            piece = self._pieces.take(length)
            if piece and self._handle is not None:
                allocate(self._handle, piece.start, piece.end - piece.start)
            return piece

    def divide(self, piece: Piece) -> Piece | None:
        """Half of what another connection has left to fetch, unless that is little."""
        with self._changed:
            return None if self._in_one_piece or self.given_up else self._pieces.divide(piece)

    def give_back(self, piece: Piece) -> None:
        """Let other connections take what is left of a piece."""
        with self._changed:
            self._pieces.give_back(piece)

    def take_all(self) -> Piece | None:
        """The whole file for one connection, because its server ignores ranges; `None` if one has it already."""
        with self._changed:
            mine, self._in_one_piece = not self._in_one_piece, True
            return Piece(0, self.file.size) if mine else None

    def abandon(self) -> None:
        """Let nobody wait for the rest of it."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    def pass_on(self) -> bool:
        """Abandon it if nothing of it is here yet, nor asked for; whether that is so."""
        with self._changed:
            if self.given_up or self._in_one_piece or not self._pieces.is_untouched:
                return False
            self._abandoned = True
            self._changed.notify_all()
            return True

    def write(self, piece: Piece, chunks: list[bytes]) -> int:
        """Put `chunks` at the start of `piece`, and that behind them; how many of their bytes were not there before.

        What reaches over the piece's end is left out: another connection brings it. Nothing is written once the part
        is kept or dropped, which may happen at any moment.
        """
        with self._changed:
            if self._over:
                return 0
            self._users += 1
            start, end = piece.start, min(piece.start + sum(map(len, chunks)), piece.end)
        try:
            # The kernel lets one writer at a time into a file, and those that wait for it there spin.
            with self._writing:
                self._write(chunks, start, end)
        finally:
            with self._changed:
                self._users -= 1
                if not self._users:  # somebody may wait to close it
                    self._changed.notify_all()
        with self._changed:
            piece.start = end
            fresh = self._pieces.wrote(start, end)
            self._unsynced.update(range(start // STEP, -(-end // STEP)))
            self._wake()
        self._flusher.wrote(self, fresh)
        return fresh

    def read(self, block: bytearray, offset: int, stopped: threading.Event) -> int:
        """Read what follows `offset` into `block`, as soon as it is there; 0 at the end, or when it won't come."""
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
        """Keep all that is here for the next attempt, also of steps that are not complete."""
        with self._changed:
            if self._over or not self._unsynced or self._handle is None or self._log is None:
                return
            self._users += 1
            # Noted before they are synchronised: so all that are noted are.
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

    def keep(self, target: Path) -> None:
        """Make the part the file `target`, for good."""
        self._open()
        assert self._handle is not None  # noqa: S101  # opened above
        os.fsync(self._handle)
        target.parent.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o444)
        self.path.rename(target)
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
            # The last ones, or a disk that takes less than it is given: it says why when it is given the rest.
            rest = memoryview(b"".join(some))[: end - start]
            while rest:
                written = os.pwrite(self._handle, rest, start)
                rest, start = rest[written:], start + written

    def _is_readable(self, offset: int) -> bool:
        """Whether enough is here to be worth a look: a block, or the rest of the step."""
        ready = self._pieces.ready(offset)
        return ready >= _BLOCK or 0 < ready == self._pieces.length(offset // STEP) - offset % STEP

    def _wake(self) -> None:
        """For each write all would wake up, to find that one may go on."""
        if self._read_at is not None and self._is_readable(self._read_at):
            self._read_at = None
            self._changed.notify_all()

    def _load(self) -> None:
        with suppress(FileNotFoundError):
            if self.path.stat().st_size != self.file.size:
                return
            # The last line may be torn: only whole ones count.
            for line in self._journal.read_text().split("\n")[:-1]:
                step, begun, count = line.partition(" ")
                if step.isdigit() and int(step) < self._pieces.count and (count.isdigit() or not begun):
                    self._pieces.note(int(step), int(count) if begun else STEP)

    def _open(self) -> None:
        if self._handle is not None:
            return
        if not any(self._pieces.reached):
            self._journal.unlink(missing_ok=True)
        # A disk may refuse any of this: then nothing is open, and whoever asks next is told.
        with ExitStack() as opened:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            opened.callback(os.close, handle)
            os.ftruncate(handle, self.file.size)
            log = os.open(self._journal, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            opened.callback(os.close, log)
            # What is appended to a torn line would make another number of it.
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
    """What a file is called while it is in flight: equal for equal content."""
    return file.sha256 or file.blob_id
