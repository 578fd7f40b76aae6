"""A file in flight on disk: which of its bytes are there, whoever wrote them and whatever died meanwhile.

The bytes stand at their own offsets in `parts/<checksum>`. A second file, `parts/<checksum>.steps`, names the steps
(4 MiB each) that are complete, one number a line, each written only after the bytes were synchronised. So neither a
kill nor a power failure loses more than the steps in hand, one per connection, and what the network's buffers held:
less than 64 MiB with eight connections. Who is asked to stop also notes how much of those steps is there.
"""

import os
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

from worker.listing import HubFile

STEP = 4 << 20
"""Bytes that become resumable together."""
_PIECE = 8
"""Steps that one request asks for: long enough to be worth its round trip, short enough to be hashed in order."""
_AHEAD = 64
"""Steps that connections may be ahead of the hasher: on a fast link it would starve beside them, and end long after."""
_PATIENCE = 0.5
"""Seconds between looks whether all was stopped."""


class Part:
    """One file in flight. Connections take pieces of it; a hasher follows them in order."""

    def __init__(self, file: HubFile, folder: Path) -> None:
        self.file = file
        self.path = folder / key(file)
        self.location: str | None = None
        """Where the Hub redirected the last request for this file: its CDN's signed link."""
        self._in_one_piece = False
        self._abandoned = False
        self._journal = self.path.with_suffix(".steps")
        self._steps = -(-file.size // STEP)
        self._done = bytearray(self._steps)
        self._taken = bytearray(self._steps)
        self._followed = 0
        self._changed = threading.Condition()
        self._writing = threading.Lock()
        self._users = 0
        self._over = False
        self._handle: int | None = None
        self._log: int | None = None
        self._reached = [0] * self._steps
        """Bytes from the beginning of each step that are here."""
        self._load()
        self._begun_at = self._done.find(0)

    @property
    def counted(self) -> int:
        """Bytes of it that are here, those in unfinished steps too."""
        return sum(self._reached)

    @property
    def given_up(self) -> bool:
        """Whether more bytes of it are of no use."""
        return self._abandoned or self._over

    @property
    def is_taken(self) -> bool:
        """Whether nobody else is needed for it."""
        return 0 not in self._taken or self._in_one_piece or self.given_up

    def take(self) -> tuple[int, int] | None:
        """The next bytes to fetch, as (start, end); `None` when it is taken, or the hasher is too far behind."""
        with self._changed:
            first = self._taken.find(0)
            if self.is_taken or self._is_far(first):
                return None
            self._open()
            last = first
            while last < self._steps and last - first < _PIECE and not self._taken[last]:
                if self._reached[last] and last > first:
                    break  # the rest of that step is a piece of its own
                self._taken[last] = 1
                last += 1
            return first * STEP + self._reached[first], min(last * STEP, self.file.size)

    def await_hasher(self) -> None:
        """Wait until there may be more to take, or a little."""
        with self._changed:
            self._changed.wait(_PATIENCE)

    def take_all(self) -> bool:
        """Claim the whole file for one connection, because its server ignores ranges; false if one has it already."""
        with self._changed:
            mine, self._in_one_piece = not self._in_one_piece, True
            return mine

    def abandon(self) -> None:
        """Let nobody wait for the rest of it."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    def room(self, offset: int) -> int:
        """Bytes from `offset` to the end of its step."""
        return min((offset // STEP + 1) * STEP, self.file.size) - offset

    def write(self, data: bytes, offset: int) -> int:
        """Put `data` in its place; how many of its bytes were not there before.

        It may not reach over the end of a step; where it ends one, the step is kept. Nothing is written once the part
        is kept or dropped, which what other connections brought may cause at any moment.
        """
        with self._changed:
            if self._over:
                return 0
            self._users += 1
        try:
            return self._write(data, offset)
        finally:
            with self._changed:
                self._users -= 1
                if not self._users:  # somebody may wait to close it
                    self._changed.notify_all()

    def _write(self, data: bytes, offset: int) -> int:
        step, end = offset // STEP, offset + len(data)
        view = memoryview(data)
        assert self._handle is not None  # noqa: S101  # it was taken
        # The kernel lets one writer at a time into a file, and those that wait for it there spin.
        with self._writing:
            while view:
                written = os.pwrite(self._handle, view, offset)
                view, offset = view[written:], offset + written
        if end % STEP == 0 or end == self.file.size:
            self._finish(step)
        with self._changed:
            fresh = max(0, end - step * STEP - self._reached[step])
            self._reached[step] += fresh
            return fresh

    def read(self, block: bytearray, offset: int, stopped: threading.Event) -> int:
        """Read what follows `offset` into `block`, as soon as it is there; 0 at the end, or when it won't come."""
        step = offset // STEP
        if offset >= self.file.size:
            return 0
        with self._changed:
            self._open()
            if step - self._followed >= _PIECE:  # For each step all would wake up, to find that one may go on.
                self._followed = step
                self._changed.notify_all()
            while not self._done[step]:
                if stopped.is_set() or self._abandoned:
                    return 0
                self._changed.wait(_PATIENCE)
        assert self._handle is not None  # noqa: S101  # opened above
        count = min(len(block), self.room(offset))
        return os.preadv(self._handle, [memoryview(block)[:count]], offset)

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

    def save(self) -> None:
        """Keep also what is here of steps that are not complete, for the next attempt."""
        with self._changed:
            if self._over or self._handle is None or self._log is None:
                return
            # Counted before they are synchronised: so all that are counted are.
            begun = [(step, count) for step, count in enumerate(self._reached) if count and not self._done[step]]
            os.fdatasync(self._handle)
            os.write(self._log, "".join(f"{step} {count}\n" for step, count in begun).encode())

    def drop(self) -> None:
        """Remove what arrived."""
        self._close()
        self.path.unlink(missing_ok=True)
        self._journal.unlink(missing_ok=True)

    def _finish(self, step: int) -> None:
        assert self._handle is not None  # noqa: S101  # it was taken
        assert self._log is not None  # noqa: S101  # likewise
        os.fdatasync(self._handle)
        with self._changed:
            if not self._done[step]:
                os.write(self._log, f"{step}\n".encode())
            self._done[step] = 1
            self._changed.notify_all()

    def _load(self) -> None:
        with suppress(FileNotFoundError):
            if self.path.stat().st_size != self.file.size:
                return
            # The last line may be torn: only whole ones count.
            for line in self._journal.read_text().split("\n")[:-1]:
                step, begun, count = line.partition(" ")
                if step.isdigit() and int(step) < self._steps and (count.isdigit() or not begun):
                    self._note(int(step), int(count) if begun else self._length(int(step)))

    def _note(self, step: int, reached: int) -> None:
        self._reached[step] = max(reached, self._reached[step])
        if self._reached[step] >= self._length(step):
            self._done[step] = self._taken[step] = 1

    def _open(self) -> None:
        if self._handle is not None:
            return
        if not any(self._reached):
            self._journal.unlink(missing_ok=True)
        with (
            ExitStack() as opened
        ):  # A disk may refuse any of this: then nothing is open, and whoever asks next is told.
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

    def _is_far(self, step: int) -> bool:
        """Whether the hasher has enough to do before `step`. What was there at the start must not hold up the rest."""
        return self._followed >= self._begun_at and step - self._followed >= _AHEAD

    def _length(self, step: int) -> int:
        return min(STEP, self.file.size - step * STEP)


def key(file: HubFile) -> str:
    """What a file is called while it is in flight: equal for equal content."""
    return file.sha256 or file.blob_id
