"""The transfers of a download: a range of a large file, or a whole small file."""

from dataclasses import dataclass, field

from worker.download.allocator import Range, RangeAllocator
from worker.download.http import Response
from worker.download.listing import HubFile
from worker.download.meter import Meter
from worker.download.retries import Retries
from worker.download.throttle import Throttle

_KNOWN = 0.5
"""Seconds after which a rate is meaningful."""


@dataclass(slots=True)
class Sink:
    """Where arriving bytes are counted. `throttle` is called with each count before more are read."""

    meter: Meter
    throttle: Throttle


@dataclass(slots=True, eq=False)
class RangeTransfer:
    """A range of a large file."""

    allocator: RangeAllocator
    range: Range
    sink: Sink
    retries: Retries
    began: float
    _received: int = 0
    _ignored: int = 0
    """Answers in a row that were not the requested range."""
    _is_whole: bool = False
    """Whether it fetches the whole file, because the server ignores ranges."""

    @property
    def file(self) -> HubFile:
        return self.allocator.file

    @property
    def start(self) -> int:
        return self.range.start

    @property
    def end(self) -> int:
        return self.range.end

    @property
    def location(self) -> str | None:
        return self.allocator.location

    @property
    def done(self) -> bool:
        return self.range.is_empty or self.allocator.is_given_up

    def left(self, moment: float) -> float:
        """Return the seconds until the range is complete, at its rate so far; 0 while that is unknown."""
        passed = moment - self.began
        return 0.0 if passed < _KNOWN else (self.end - self.start) * passed / max(self._received, 1)

    def receive(self, response: "Response[Transfer]") -> bool:
        """Take the bytes of a response; return whether more are wanted."""
        if response.location:
            self.allocator.redirect(response.location)
        if self.done:
            return False
        count = sum(map(len, response.chunks))
        self._received += count
        fits = self.range.start + count <= self.range.end
        self.sink.meter.add(self.allocator.write(self.range, response.chunks), fetched=True)
        self.sink.throttle(count)
        self.retries.received()
        self._ignored = 0
        # At the range's end the answer ends by itself, and the connection is kept.
        return fits and not self.allocator.is_given_up

    def restart(self, *, relocate: bool) -> None:
        """Prepare for another request; `relocate`: ask the Hub for a new link."""
        if relocate:
            self.allocator.redirect(None)

    def abandon(self) -> None:
        """Give up the whole file."""
        self.allocator.partial.abandon()

    def without_ranges(self) -> bool:
        """Prepare for a server that ignored the range: ask once more, then for the whole file from its beginning.

        Return False if another connection fetches the whole file.
        """
        self._ignored += 1
        if self._ignored > 1 or self._is_whole:
            whole = Range(0, self.file.size) if self._is_whole else self.allocator.take_all()
            if whole is None:
                return False
            self.range, self._is_whole = whole, True
        return True


@dataclass(slots=True, eq=False)
class FileTransfer:
    """A small file, in memory."""

    file: HubFile
    sink: Sink
    retries: Retries
    location: str | None = None
    start: int = 0
    _chunks: list[bytes] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.file.size

    @property
    def done(self) -> bool:
        return sum(map(len, self._chunks)) >= self.file.size

    def receive(self, response: "Response[Transfer]") -> bool:
        """Take the bytes of a response; return whether more are wanted."""
        self.location = response.location or self.location
        self.sink.throttle(sum(map(len, response.chunks)))
        self._chunks += response.chunks
        return sum(map(len, self._chunks)) <= self.file.size

    def data(self) -> bytes:
        self.sink.meter.add(self.file.size, fetched=True)
        return b"".join(self._chunks)

    def restart(self, *, relocate: bool) -> None:
        """Discard the bytes: the file is fetched from its beginning again."""
        self._chunks.clear()
        if relocate:
            self.location = None


Transfer = RangeTransfer | FileTransfer
