"""What can go wrong between a Hub and its clients, one `Fault` each."""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Literal

from tests.fakehub.content import Bytes, Content
from tests.fakehub.exchange import Answer, Place, Request
from tests.fakehub.repository import Entry

FaultKind = Literal[
    "drop",  # FIN after `after_bytes` of the body
    "reset",  # RST there
    "stall",  # nothing any more from there, for `seconds` or until the client leaves
    "trickle",  # `rate` bytes a second from there
    "status",  # `status` in place of the answer
    "corrupt",  # the byte at `after_bytes` is another one; the length is right
    "short",  # `by` bytes too few
    "long",  # `by` bytes too many
    "ignore_range",  # 200 and the whole file, whatever range was asked
    "redirect_loop",  # 302 to the same address
    "expired",  # 403 for a signed link that gave more than `after_bytes`, or is older than `seconds`
    "lie_size",  # another size is announced: `by` more
    "lie_checksum",  # another checksum is announced
    "rewrite",  # the body as `rewrite` makes it, with `headers` added
]
_BREAKS = frozenset({"drop", "reset", "stall", "trickle"})
_LIES = frozenset({"lie_size", "lie_checksum"})


@dataclass(frozen=True)
class Fault:
    """A fault, and which requests it befalls: a number of `times`, after the first `skip` that it fits.

    A fault is used up only by an answer that it can spoil: `ignore_range` waits for a range, `drop` for a body that is
    longer than `after_bytes`. The lies are told wherever a file is announced (revision, tree, paths-info, HEAD) unless
    `on` names one of these; every answer counts as one time, so a Hub that is wrong throughout has `times=None`.
    """

    kind: FaultKind
    _: KW_ONLY
    on: Place = "file"
    path: str | None = None
    """A glob of file paths."""
    repo: str | None = None
    times: int | None = 1
    """None: for ever."""
    skip: int = 0
    agent: str | None = None
    """A glob of User-Agents."""
    after_bytes: int | None = 0
    """Of the body. None: before the headers."""
    status: int = 503
    retry_after: int | str | None = None
    ratelimit: int | None = None
    """Seconds to wait, in the form that the Hub says it: `RateLimit: "api";r=0;t=55`."""
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None
    rate: int = 1000
    by: int = 1
    rewrite: Callable[[bytes], bytes] = bytes
    honest: bool = True
    """Whether the Content-Length of `short` and `long` is that of the body that comes."""

    @property
    def breaks(self) -> bool:
        """It happens on the line, not in the answer."""
        return self.kind in _BREAKS

    def fits(self, request: Request, answer: Answer) -> bool:
        """Whether it can befall this answer at all."""
        within = (self.after_bytes or 0) < answer.length
        if self.breaks:
            return self.after_bytes is None or not answer.length or within
        body = request.method != "HEAD" and answer.status < 300
        by_kind = {
            "ignore_range": answer.status == 206,
            "corrupt": body and within,
            "short": body and self.by <= answer.length,
            "long": body,
            "expired": self._outdated(answer),
            "lie_size": False,
            "lie_checksum": False,
        }
        return by_kind.get(self.kind, True)

    def spoil(self, request: Request, answer: Answer) -> Answer:
        """What is answered instead. For faults of the line the answer stays as it is."""
        spoilt = answer
        match self.kind:
            case "status":
                spoilt = self._refusal()
            case "redirect_loop":
                spoilt = Answer(302, {"Location": request.path})
            case "expired":
                spoilt = expired_link()
            case "ignore_range":
                headers = {name: value for name, value in answer.headers.items() if name != "Content-Range"}
                spoilt = replace(answer, status=200, headers=headers, start=0, stop=answer.content.size)
            case "corrupt":
                spoilt = replace(answer, content=_Flipped(answer.content, answer.start + (self.after_bytes or 0)))
            case "short":
                spoilt = replace(answer, stop=answer.end - self.by, announced=self._announced(answer))
            case "long":
                longer = _Padded(answer.content, self.by)
                spoilt = replace(answer, content=longer, stop=answer.end + self.by, announced=self._announced(answer))
            case "rewrite":
                body = b"".join(bytes(block) for block in answer.content.blocks(answer.start, answer.end))
                spoilt = replace(
                    answer,
                    headers=dict(answer.headers) | dict(self.headers),
                    content=Bytes(self.rewrite(body)),
                    start=0,
                    stop=None,
                )
            case _:
                pass
        return spoilt

    def lie(self, entry: Entry, told: dict[str, object]) -> dict[str, object]:
        """An announcement with another size or checksum; `told` has `size`, `oid`, and `sha256` of an LFS file."""
        if self.path is not None and not fnmatchcase(entry.path, self.path):
            return told
        if self.kind == "lie_size":
            return told | {"size": entry.content.size + self.by}
        return told | {name: str(told[name])[::-1] for name in ("oid", "sha256") if name in told}

    def _announced(self, answer: Answer) -> int | None:
        return None if self.honest else answer.length

    def _outdated(self, answer: Answer) -> bool:
        if answer.link is None:
            return False
        if self.seconds is not None:
            return answer.link.age > self.seconds
        return answer.link.bytes_sent > (self.after_bytes or 0)

    def _refusal(self) -> Answer:
        headers = dict(self.headers)
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        if self.ratelimit is not None:
            headers["RateLimit"] = f'"api";r=0;t={self.ratelimit}'
            headers["RateLimit-Policy"] = '"fixed window";"api";q=500;w=300'
        return Answer(self.status, headers)


class Faults:
    """The faults that wait for their requests; each is taken by one request at a time."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._waiting.append(_Waiting(fault, fault.skip, fault.times))

    def clear(self) -> None:
        with self._lock:
            self._waiting.clear()

    def take(self, request: Request, answer: Answer) -> Fault | None:
        """The first fault that is meant for this request and can befall this answer."""
        with self._lock:
            for waiting in self._waiting:
                fault = waiting.fault
                if _meant(fault, request) and fault.fits(request, answer) and waiting.use():
                    return fault
        return None

    def lies(self, request: Request, entries: list[Entry]) -> list[Fault]:
        """The lies to be told of these files in one answer."""
        with self._lock:
            return [
                waiting.fault
                for waiting in self._waiting
                if waiting.fault.kind in _LIES
                and waiting.fault.on in {"file", "any", request.place}
                and waiting.fault.repo in {None, request.repo}
                and any(_covers(waiting.fault, entry.path) for entry in entries)
                and waiting.use()
            ]


def expired_link() -> Answer:
    """What a CDN says of a link that is too old, or that it did not sign."""
    body = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>'
    return Answer(403, {"Content-Type": "application/xml"}, Bytes(body))


@dataclass
class _Waiting:
    fault: Fault
    skip: int
    left: int | None

    def use(self) -> bool:
        if self.left == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.left is not None:
            self.left -= 1
        return True


class _Flipped(Content):
    """The same content but for one byte."""

    def __init__(self, content: Content, position: int) -> None:
        self._content, self._position = content, position
        self.size = content.size

    def blocks(self, start: int, stop: int) -> Iterator[memoryview]:
        for block in self._content.blocks(start, stop):
            if start <= self._position < start + len(block):
                spoilt = bytearray(block)
                spoilt[self._position - start] ^= 0xFF
                yield memoryview(spoilt)
            else:
                yield block
            start += len(block)

    @property
    def mark(self) -> str:
        return f"{self._content.mark} spoilt at {self._position}"


class _Padded(Content):
    """The same content and some zeros."""

    def __init__(self, content: Content, by: int) -> None:
        self._content = content
        self.size = content.size + by

    def blocks(self, start: int, stop: int) -> Iterator[memoryview]:
        yield from self._content.blocks(start, min(stop, self._content.size))
        zeros = min(stop, self.size) - max(start, self._content.size)
        yield memoryview(bytes(max(0, zeros)))

    @property
    def mark(self) -> str:
        return f"{self._content.mark} padded to {self.size}"


def _meant(fault: Fault, request: Request) -> bool:
    on_cdn = fault.on == "cdn" and request.origin == "cdn"
    return (
        (fault.on in {"any", request.place} or on_cdn)
        and fault.repo in {None, request.repo}
        and fnmatchcase(request.headers.get("user-agent", ""), fault.agent or "*")
        and _covers(fault, request.file)
    )


def _covers(fault: Fault, path: str | None) -> bool:
    return fault.path is None or (path is not None and fnmatchcase(path, fault.path))
