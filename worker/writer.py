"""Fetches files over plain HTTP: several connections, in ranges, from where the last attempt stopped, hashed meanwhile.

huggingface_hub 2.x starts every file again after a kill, checks no content, reads one connection a file and can't be
told to stop. Large files come in pieces over several connections, in order, so that one hasher can follow them.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from app.domain.errors import Reason, TryAgain
from worker.checksums import Checksum
from worker.listing import HubFile
from worker.meter import Meter
from worker.parts import Part
from worker.wire import NoRanges, Trouble, Wire, WrongLength

SMALL = 1 << 20
"""Files up to this size, in bytes, are fetched whole, in memory, many at a time."""
_SMALL_AT_ONCE = 16
_HASHERS = 2
_BLOCK = 1 << 20
_TROUBLES = 5
"""Requests in a row that may fail before the attempt is given up, unless they brought `_PROGRESS` bytes meanwhile."""
_PROGRESS = 1 << 20
_LONGEST_WAIT = 30.0

Keep = Callable[[HubFile, str], None]
"""Told of each file that is verified and in its place, with its SHA-256."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How to go about it: `connections` for large files, `backoff` seconds after the first trouble."""

    connections: int
    backoff: float


class Writer:
    """Fetches files into a tree. `throttle` is called with every count of bytes before more are read."""

    def __init__(
        self, wire: Wire, tree: Path, meter: Meter, pace: Pace, *, throttle: Callable[[int], None], keep: Keep
    ) -> None:
        self._wire = wire
        self._tree = tree
        self._meter = meter
        self._pace = pace
        self._throttle = throttle
        self._keep = keep
        self._stopped = threading.Event()
        self._wrong: set[HubFile] = set()

    def fetch(self, parts: Sequence[Part], small: Sequence[HubFile]) -> list[HubFile]:
        """Fetch all; those that are not what the manifest says are returned, and nothing of them is kept.

        Raises `TryAgain`, `Failed` or `OSError`; threads may then still run, and write nothing but bytes in flight.
        """
        few = deque(small)
        connections = min(self._pace.connections, sum(-(-part.file.size // SMALL) for part in parts))
        threads = ThreadPoolExecutor(connections + _SMALL_AT_ONCE, thread_name_prefix="writer")
        hashers = ThreadPoolExecutor(_HASHERS, thread_name_prefix="hasher")
        running: set[Future[None]] = {hashers.submit(self._hash, part) for part in parts}
        running |= {threads.submit(self._pieces, parts) for _ in range(connections)}
        running |= {threads.submit(self._whole_files, few) for _ in range(min(_SMALL_AT_ONCE, len(few)))}
        try:
            for future in wait(running, return_when=FIRST_EXCEPTION).done:
                future.result()
        finally:
            self._stopped.set()
            for pool in (threads, hashers):
                pool.shutdown(wait=False, cancel_futures=True)
        self._stopped = threading.Event()
        wrong, self._wrong = self._wrong, set()
        return list(wrong)

    def _pieces(self, parts: Sequence[Part]) -> None:
        """One connection: piece after piece, of the largest file first."""
        while not self._stopped.is_set() and (left := [part for part in parts if not part.is_taken]):
            part, piece = next(((part, piece) for part in left if (piece := part.take())), (left[0], None))
            if piece is None:
                part.await_hasher()
                continue
            try:
                self._piece(part, *piece)
            except WrongLength:
                part.abandon()

    def _piece(self, part: Part, start: int, end: int) -> None:
        offset, troubles, ignored, alone, reached = start, 0, 0, False, start
        while offset < end and not self._stopped.is_set():
            try:
                for data in self._wire.stream(part.file, offset, end, part.location):
                    if isinstance(data, str):
                        part.location = data
                        continue
                    offset = self._write(part, data, offset)
                    ignored = 0
                    # A byte now and then is no progress.
                    troubles, reached = (0, offset) if offset - reached >= _PROGRESS else (troubles, reached)
                    if self._stopped.is_set() or part.given_up:
                        return
                if offset < end:
                    raise _cut_short(part.file)
            except NoRanges:
                ignored += 1
                troubles += 1
                self._wait(_no_ranges(part.file), troubles)
                if alone or ignored > 1:
                    if not alone and not part.take_all():
                        return
                    # What comes a second time is no progress either: `reached` stays.
                    offset, end, alone, ignored = 0, part.file.size, True, 0
            except Trouble as trouble:
                troubles += 1
                part.location = None if trouble.relocate or troubles > 1 else part.location
                self._wait(trouble, troubles)

    def _write(self, part: Part, data: bytes, offset: int) -> int:
        """Write `data` at `offset`; where it ends."""
        view = memoryview(data)
        while view:
            count = min(len(view), part.room(offset))
            fresh = part.write(bytes(view[:count]) if count < len(data) else data, offset)
            self._meter.add(fresh, fetched=True)
            view, offset = view[count:], offset + count
        self._throttle(len(data))
        return offset

    def _hash(self, part: Part) -> None:
        """Follow a part in order; keep it when it is whole and right."""
        checksum, block, offset = Checksum(part.file), bytearray(_BLOCK), 0
        view = memoryview(block)
        while count := part.read(block, offset, self._stopped):
            checksum.update(view[:count])
            offset += count
        if self._stopped.is_set():
            return
        if offset == part.file.size and checksum.matches():
            part.keep(self._tree / part.file.path)
            self._keep(part.file, checksum.sha256)
        else:
            part.drop()
            self._meter.add(-part.counted)
            self._wrong.add(part.file)

    def _whole_files(self, files: deque[HubFile]) -> None:
        """One connection: small file after small file."""
        while files and not self._stopped.is_set():
            try:
                file = files.popleft()
            except IndexError:
                return
            try:
                data = self._whole(file)
            except (WrongLength, NoRanges):
                self._wrong.add(file)
                continue
            checksum = Checksum(file)
            checksum.update(data)
            if not checksum.matches():
                self._meter.add(-len(data))
                self._wrong.add(file)
                continue
            _write(self._tree / file.path, data)
            self._keep(file, checksum.sha256)

    def _whole(self, file: HubFile) -> bytes:
        data, troubles = b"", 0
        while len(data) < file.size and not self._stopped.is_set():
            try:
                chunks = list(self._wire.stream(file, 0, file.size, None))
                data = b"".join(chunk for chunk in chunks if isinstance(chunk, bytes))
                if len(data) < file.size:
                    raise _cut_short(file)
            except Trouble as trouble:
                troubles += 1
                self._wait(trouble, troubles)
        self._meter.add(len(data), fetched=True)
        self._throttle(len(data))
        return data

    def _wait(self, trouble: Trouble, troubles: int) -> None:
        """Let some time pass, or raise `TryAgain` when it was enough."""
        pause = trouble.after or self._pace.backoff * 2 ** (troubles - 1)
        if troubles >= _TROUBLES or pause > _LONGEST_WAIT:
            raise TryAgain(trouble.reason, trouble.message, after=trouble.after) from trouble
        self._stopped.wait(pause)


def _write(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # What stands there may be a link to another model's file: it must not be written through.
    target.unlink(missing_ok=True)
    with target.open("xb") as output:
        output.write(data)
        output.flush()
        os.fchmod(output.fileno(), 0o444)
        os.fsync(output.fileno())


def _no_ranges(file: HubFile) -> Trouble:
    return Trouble(Reason.UNAVAILABLE, f"The server sends {file.path!r} from its beginning only, and not to its end.")


def _cut_short(file: HubFile) -> Trouble:
    return Trouble(Reason.UNAVAILABLE, f"The connection ended in the middle of {file.path!r}.")
