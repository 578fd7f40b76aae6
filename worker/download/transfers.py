"""The transfers that the writer starts: a piece of a large file, or a whole small file."""

from dataclasses import dataclass, field

from worker.download.answers import Trouble
from worker.download.listing import HubFile
from worker.download.meter import Meter
from worker.download.partial import Part
from worker.download.pieces import Piece
from worker.download.throttle import Throttle

_KNOWN = 0.5
"""Seconds after which a rate is meaningful."""


@dataclass(slots=True)
class Sink:
    """Where arriving bytes are counted. `throttle` is called with each count before more are read."""

    meter: Meter
    throttle: Throttle


@dataclass(slots=True, eq=False)
class Tried:
    """How often a request failed. `failures`: since its own last bytes. `troubles`: since any request's progress."""

    failures: int = 0
    troubles: int = 0
    seen: int = 0
    """Bytes fetched by all requests when it last failed."""
    due: float = 0.0
    trouble: Trouble | None = None
    ignored: int = 0
    """Answers in a row that were not the requested range."""


@dataclass(slots=True, eq=False)
class OfPart:
    """A piece of a large file."""

    part: Part
    piece: Piece
    sink: Sink
    began: float
    came: int = 0
    tried: Tried = field(default_factory=Tried)
    alone: bool = False
    """Whether it fetches the whole file, because the server ignores ranges."""

    @property
    def file(self) -> HubFile:
        return self.part.file

    @property
    def start(self) -> int:
        return self.piece.start

    @property
    def end(self) -> int:
        return self.piece.end

    @property
    def location(self) -> str | None:
        return self.part.location

    @location.setter
    def location(self, address: str | None) -> None:
        self.part.location = address

    @property
    def done(self) -> bool:
        return self.piece.start >= self.piece.end or self.part.given_up

    def left(self, moment: float) -> float:
        """Return the seconds until the piece is complete, at its rate so far; 0 while that is unknown."""
        return (
            0.0 if moment - self.began < _KNOWN else (self.end - self.start) * (moment - self.began) / max(self.came, 1)
        )

    def receive(self, chunks: list[bytes]) -> bool:
        if self.done:
            return False
        count = sum(map(len, chunks))
        self.came += count
        whole = self.piece.start + count <= self.piece.end
        self.sink.meter.add(self.part.write(self.piece, chunks), fetched=True)
        self.sink.throttle(count)
        self.tried.failures = self.tried.ignored = 0
        # At the piece's end the answer ends by itself, and the connection is kept.
        return whole and not self.part.given_up


@dataclass(slots=True, eq=False)
class Whole:
    """A small file, in memory."""

    file: HubFile
    sink: Sink
    tried: Tried = field(default_factory=Tried)
    location: str | None = None
    start: int = 0
    _chunks: list[bytes] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.file.size

    @property
    def done(self) -> bool:
        return sum(map(len, self._chunks)) >= self.file.size

    def receive(self, chunks: list[bytes]) -> bool:
        self.sink.throttle(sum(map(len, chunks)))
        self._chunks += chunks
        return sum(map(len, self._chunks)) <= self.file.size

    def data(self) -> bytes:
        self.sink.meter.add(self.file.size, fetched=True)
        return b"".join(self._chunks)

    def forget(self) -> None:
        """Discard the bytes: the file is fetched from its beginning again."""
        self._chunks.clear()


Transfer = OfPart | Whole
