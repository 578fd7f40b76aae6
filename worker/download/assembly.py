"""Completes the files of one manifest in one attempt's folder: links, fetches and verifies them until all are there."""

import threading
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import structlog

from app.domain.errors import Failed, Reason, TryAgain
from app.storage.incoming import Arrival, LocalArrival
from worker.download.allocator import RangeAllocator
from worker.download.elsewhere import Elsewhere
from worker.download.http import Wire
from worker.download.hub import Hub
from worker.download.listing import HubFile
from worker.download.options import DownloadOptions
from worker.download.partial import key
from worker.download.partials import Partials
from worker.download.ranges import SMALL, Fetcher
from worker.download.refusals import is_unforeseen
from worker.download.saver import Keep
from worker.download.snapshot import snapshot
from worker.download.survey import Survey
from worker.download.transfers import Sink, Transfer
from worker.download.tree import VerifiedTree
from worker.download.xet import Store

_HASHERS = 2
_MOST_TOLD = 20
"""Files whose progress is told."""
_NO_SNAPSHOT = (
    "The Hub sends files in a way that this worker does not understand; its log says what is new. huggingface_hub itself, "
    "which fetches them in this case, needs a DEPOT_STORAGE that is a folder."
)

log = structlog.get_logger()


class Assembly:
    """The wanted files of one commit. Contents that are `elsewhere` are linked, not fetched."""

    def __init__(
        self,
        hub: Hub,
        commit: str,
        wanted: Sequence[HubFile],
        survey: Survey,
        elsewhere: Elsewhere,
        *,
        tree: VerifiedTree,
        arrival: Arrival,
        wire: Wire[Transfer],
        sink: Sink,
        partials: Partials,
        keep: Keep,
        options: DownloadOptions,
    ) -> None:
        self._hub = hub
        self._commit = commit
        self._wanted = wanted
        self._survey = survey
        self._elsewhere = elsewhere
        self._tree, self._arrival = tree, arrival
        self._wire = wire
        self._store = Store(hub, commit, options.stall.window)
        self._sink, self._meter = sink, sink.meter
        self._partials = partials
        self._keep = keep
        self._options = options
        self._allocators = {file: RangeAllocator(partial) for file, partial in survey.partials.items()}
        self._awaited = list(survey.awaited)
        self._passing, self._passed = threading.Lock(), list[HubFile]()

    def pass_on(self, checksums: Collection[str]) -> None:
        """Leave contents to the downloads that wait for them, unless bytes of them were requested already."""
        with self._passing:
            allocators = [each for each in self._allocators.values() if each.file.sha256 in checksums]
            passed = [allocator.file for allocator in allocators if allocator.pass_on()]
            self._passed += passed
            if passed:
                self._elsewhere.passed([file.sha256 for file in passed if file.sha256])

    def complete(self) -> None:
        """Fetch until every file is in the tree, verified and on disk. Raise errors that `explain` translates."""
        awaited = sum(file.size for file in self._awaited)
        self._meter.add(sum(file.size for file in self._wanted) - self._survey.missing - awaited)
        hashers = ThreadPoolExecutor(_HASHERS, thread_name_prefix="hasher")
        try:
            wrong = self._fetch_all(hashers)
        except BaseException:
            with suppress(OSError):
                self.save()
            raise
        finally:
            hashers.shutdown(wait=False, cancel_futures=True)
        if wrong:
            more = f" ({len(wrong) - 1} more, too)" if len(wrong) > 1 else ""
            message = (
                f"{wrong[0].path!r}{more} differs from the Hub's checksum, again after a clean retry. Retry later; if that "
                "does not help, what the Hub or a proxy in between sends is broken: fetch another revision, or tell its owner."
            )
            raise Failed(Reason.PARTIAL, message)
        self._tree.link_twins()
        self._tree.remove_strays()
        self._tree.sync()

    def arriving(self) -> Sequence[tuple[str, int, int]]:
        """Return (path, size, bytes that are here) of some files of which a part is here; for any thread."""
        counted = ((each.file, each.partial.counted) for each in list(self._allocators.values()))
        return [(file.path, file.size, count) for file, count in counted if 0 < count < file.size][:_MOST_TOLD]

    def save(self) -> None:
        """Sync all that has arrived, for the next attempt: this one is about to end."""
        for allocator in self._allocators.values():
            allocator.partial.sync()

    def _fetch_all(self, hashers: ThreadPoolExecutor) -> list[HubFile]:
        """Bring every content into the tree. Return the files that differ from the manifest after a second try."""
        verdicts = {file: hashers.submit(self._link, file) for file in self._survey.here}
        wrong = self._fetch(self._survey.absent, xet=self._options.xet)
        # Files with the same content may be hard links to one file.
        rotten = {key(file): file for file, verdict in verdicts.items() if not verdict.result()}
        self._meter.add(-sum(file.size for file in rotten.values()))
        wrong = self._fetch_again([*wrong, *rotten.values()])
        while self._awaited and not wrong:
            wrong = self._fetch_again(self._link_awaited(hashers))
        return wrong

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
        if self._options.snapshot:
            return self._by_snapshot(files, xet)
        fetcher = Fetcher(
            [self._allocators[file] for file in files if file in self._allocators],
            [file for file in files if file not in self._allocators],
            wire=self._wire,
            store=self._store,
            arrival=self._arrival,
            sink=self._sink,
            keep=self._keep,
            options=self._options,
            xet=xet,
        )
        try:
            return fetcher.fetch()
        except Exception as error:
            if not is_unforeseen(error):
                raise
            log.warning("the Hub is not as expected: going on with huggingface_hub", error=type(error).__name__)
            fetcher.finish()
        return self._by_snapshot([file for file in files if file not in self._passed and not self._tree.has(file)], xet)

    def _by_snapshot(self, files: Sequence[HubFile], xet: str) -> list[HubFile]:
        """Fetch as `_bring` does, with huggingface_hub, which starts each file from its beginning."""
        if not files:
            return []
        arrival = self._arrival
        if not isinstance(arrival, LocalArrival):
            raise TryAgain(Reason.UNAVAILABLE, _NO_SNAPSHOT)
        for allocator in [self._allocators.pop(file) for file in files if file in self._allocators]:
            self._meter.settle(allocator.partial.counted)
            allocator.partial.drop()
        arriving = snapshot(
            self._hub,
            self._commit,
            files,
            arrival.inbox,
            self._sink,
            window=self._options.stall.window,
            xet=xet != "off" and not self._sink.throttle.limit,
        )
        wrong = []
        for file, path in arriving:
            arrival.take(file.path, path)
            if not self._tree.accept(file):
                wrong.append(file)
        self._meter.add(-sum(file.size for file in wrong))
        return wrong

    def _fetch_again(self, wrong: Sequence[HubFile]) -> list[HubFile]:
        partials = [self._partials.open(file) for file in wrong if file.size > SMALL]
        self._allocators = {partial.file: RangeAllocator(partial) for partial in partials}
        # Not over Xet: it verifies nothing, so its store would only send the same wrong bytes again.
        return self._fetch(wrong, xet="off")

    def _link_awaited(self, hashers: ThreadPoolExecutor) -> list[HubFile]:
        """Link what other downloads fetched; return the files that differ from the manifest."""
        awaited, self._awaited = self._awaited, []
        self._elsewhere.wait([file.sha256 for file in awaited if file.sha256], self._meter.value)
        verdicts = {file: hashers.submit(self._link, file) for file in awaited}
        self._meter.add(sum(file.size for file, verdict in verdicts.items() if verdict.result()))
        return [file for file, verdict in verdicts.items() if not verdict.result()]

    def _link(self, file: HubFile) -> bool:
        """Verify a file, linked if it is elsewhere. Return whether it matches the manifest."""
        return self._tree.accept_or_link(file, self._elsewhere.links.get(file.sha256 or "", ()))
