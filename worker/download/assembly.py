"""The files of one manifest in one attempt's folder: finds, links, fetches and verifies them until all are there."""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from app.domain.errors import Failed, Reason
from app.storage.base import Arrival
from worker.download.checksums import verify
from worker.download.client import Guard
from worker.download.elsewhere import Elsewhere
from worker.download.flusher import Flusher
from worker.download.http import Patience, Wire
from worker.download.hub import Hub
from worker.download.listing import HubFile
from worker.download.meter import Meter
from worker.download.partial import Part, key
from worker.download.ranges import SMALL, Pace, Writer
from worker.download.refusals import is_unforeseen
from worker.download.snapshot import snapshot
from worker.download.throttle import Throttle
from worker.download.transfers import Sink, Transfer
from worker.download.trust import Authorities
from worker.download.ways import Ways
from worker.download.xet import Store

_HASHERS = 2

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Means:
    """How files are fetched. `keep` is called with each verified file."""

    pace: Pace
    patience: Patience
    authorities: Authorities
    guard: Guard
    xet: str
    """Whether files are fetched over Xet: "auto", "on" or "off"."""
    snapshot: bool
    """Whether huggingface_hub fetches them instead of this worker's own code."""
    throttle: Throttle
    keep: Callable[[HubFile, str], None]


class Files:
    """The wanted files of one commit. Contents that are `elsewhere` are linked, not fetched."""

    def __init__(
        self, hub: Hub, commit: str, arrival: Arrival, wanted: Sequence[HubFile], elsewhere: Elsewhere, means: Means
    ) -> None:
        self.meter = Meter()
        self._hub = hub
        self._commit = commit
        self._arrival = arrival
        self._wanted = wanted
        self._elsewhere = elsewhere
        self._means = means
        self._wire: Wire[Transfer] = Wire(hub, commit, means.patience, means.authorities, means.guard)
        self._store = Store(hub, commit, means.patience.window)
        self._sink = Sink(self.meter, means.throttle)
        self._flusher = Flusher()
        self._passing, self._passed = threading.Lock(), list[HubFile]()
        self._here = [file for file in wanted if self._is_here(file)]
        # One of several files with the same content is fetched; the others are linked to it.
        here = {key(file) for file in self._here}
        absent = {key(file): file for file in wanted if key(file) not in here}.values()
        self._awaited = [file for file in absent if file.sha256 in elsewhere.awaited]
        self._absent = [file for file in absent if file.sha256 not in elsewhere.awaited]
        self._parts = {file: self._part(file) for file in self._absent if file.size > SMALL}
        self.missing = sum(file.size for file in self._absent) - sum(part.counted for part in self._parts.values())
        """Bytes to fetch."""

    @property
    def awaited(self) -> list[str]:
        """The SHA-256s of contents that other downloads fetch."""
        return [file.sha256 for file in self._awaited if file.sha256]

    def pass_on(self, checksums: Collection[str]) -> None:
        """Leave contents to the downloads that wait for them, unless bytes of them were requested already."""
        with self._passing:
            parts = list(self._parts.values())
            passed = [part.file for part in parts if part.file.sha256 in checksums and part.pass_on()]
            self._passed += passed
            if passed:
                self._elsewhere.passed([file.sha256 for file in passed if file.sha256])

    def complete(self) -> None:
        """Fetch until every file is in the tree, verified and on disk. Raise errors that `explain` translates."""
        awaited = sum(file.size for file in self._awaited)
        self.meter.add(sum(file.size for file in self._wanted) - self.missing - awaited)
        hashers = ThreadPoolExecutor(_HASHERS, thread_name_prefix="hasher")
        try:
            verdicts = {file: hashers.submit(self._keep, file) for file in self._here}
            wrong = self._fetch(self._absent, xet=self._means.xet)
            # Files with the same content may be hard links to one file.
            rotten = {key(file): file for file, verdict in verdicts.items() if not verdict.result()}
            self.meter.add(-sum(file.size for file in rotten.values()))
            wrong = self._fetch_again([*wrong, *rotten.values()])
            while self._awaited and not wrong:
                wrong = self._fetch_again(self._link_awaited(hashers))
        except BaseException:
            with suppress(OSError):
                self.save()
            raise
        finally:
            hashers.shutdown(wait=False, cancel_futures=True)
        if wrong:
            more = f", and so do {len(wrong) - 1} more" if len(wrong) > 1 else ""
            message = f"{wrong[0].path!r} differs from the Hub's checksum, again after a clean retry{more}."
            raise Failed(Reason.PARTIAL, message)
        self._link_twins()
        self._arrival.prune({file.path: file.size for file in self._wanted})
        self._arrival.sync()

    def save(self) -> None:
        """Sync all that has arrived, for the next attempt: this one is about to end."""
        for part in self._parts.values():
            part.sync()

    def _fetch(self, files: Sequence[HubFile], *, xet: str) -> list[HubFile]:
        """Fetch `files`; return those that differ from the manifest, of which nothing is kept.

        Files passed on meanwhile are awaited from here on.
        """
        wrong = self._bring(files, xet)
        with self._passing:
            passed, self._passed = self._passed, []
        self._awaited += passed
        return [file for file in wrong if file not in passed]

    def _bring(self, files: Sequence[HubFile], xet: str) -> list[HubFile]:
        if not files:
            return []
        if self._means.snapshot:
            return self._by_snapshot(files, xet)
        writer = Writer(
            self._wire,
            self._store,
            Ways(xet, time.monotonic()),
            self._arrival,
            self._sink,
            self._means.pace,
            keep=self._means.keep,
        )
        parts = [self._parts[file] for file in files if file in self._parts]
        try:
            return writer.fetch(parts, [file for file in files if file not in self._parts])
        except Exception as error:
            if not is_unforeseen(error):
                raise
            log.warning("the Hub is not as expected: going on with huggingface_hub", error=type(error).__name__)
            writer.finish()
        left = [file for file in files if file not in self._passed and not self._arrival.has(file.path, file.size)]
        return self._by_snapshot(left, xet)

    def _by_snapshot(self, files: Sequence[HubFile], xet: str) -> list[HubFile]:
        """Fetch as `_bring` does, with huggingface_hub, which starts each file from its beginning."""
        for part in [self._parts.pop(file) for file in files if file in self._parts]:
            self.meter.settle(part.counted)
            part.drop()
        window, over_xet = self._means.patience.window, xet != "off" and not self._sink.throttle.limit
        arriving = snapshot(
            self._hub, self._commit, files, self._arrival.inbox, self._sink, window=window, xet=over_xet
        )
        wrong = [file for file, path in arriving if not self._take(file, path)] if files else []
        self.meter.add(-sum(file.size for file in wrong))
        return wrong

    def _fetch_again(self, wrong: Sequence[HubFile]) -> list[HubFile]:
        self._parts = {file: self._part(file) for file in wrong if file.size > SMALL}
        # Not over Xet: it verifies nothing, so its store would only send the same wrong bytes again.
        return self._fetch(wrong, xet="off")

    def _link_awaited(self, hashers: ThreadPoolExecutor) -> list[HubFile]:
        """Link what other downloads fetched; return the files that differ from the manifest."""
        awaited, self._awaited = self._awaited, []
        self._elsewhere.wait([file.sha256 for file in awaited if file.sha256], self.meter.value)
        verdicts = {file: hashers.submit(self._keep, file) for file in awaited}
        self.meter.add(sum(file.size for file, verdict in verdicts.items() if verdict.result()))
        return [file for file, verdict in verdicts.items() if not verdict.result()]

    def _take(self, file: HubFile, path: Path) -> bool:
        """Verify a file that huggingface_hub fetched; take or remove it. Return whether it is right."""
        self._arrival.take(file.path, path)
        return self._accept(file)

    def _accept(self, file: HubFile) -> bool:
        """Verify a file of the attempt; report it, or remove it. Return whether it is right."""
        try:
            with self._arrival.open(file.path) as arrived:
                sha256 = verify(file, arrived)
        except FileNotFoundError:
            return False
        if sha256 is None:
            self._arrival.remove(file.path)
            return False
        self._arrival.accept(file.path)
        self._means.keep(file, sha256)
        return True

    def _keep(self, file: HubFile) -> bool:
        """Link a file that is elsewhere and `_accept` it. Return whether it matches the manifest."""
        if not self._arrival.has(file.path, file.size):
            any(self._arrival.link(file.path, place) for place in self._elsewhere.links.get(file.sha256 or "", ()))
        return self._accept(file)

    def _link_twins(self) -> None:
        """Link files that have the same content as another file."""
        there = {key(file): file for file in self._wanted if self._arrival.has(file.path, file.size)}
        for file in self._wanted:
            if not self._arrival.has(file.path, file.size):
                self._arrival.twin(file.path, there[key(file)].path)
                if not self._accept(file):
                    raise Failed(Reason.FAULT, f"The storage does not keep what is written to it: {file.path!r}.")

    def _part(self, file: HubFile) -> Part:
        return Part(file, self._arrival.parts, self._flusher)

    def _is_here(self, file: HubFile) -> bool:
        """Whether a file of that size is here or can be linked. Its content is not checked."""
        places = self._elsewhere.links.get(file.sha256 or "", ())
        return self._arrival.has(file.path, file.size) or any(self._arrival.is_at(place, file.size) for place in places)
