"""Fetches files over HTTP in ranges, over several connections; resumes the last attempt; hashes while it fetches.

huggingface_hub 2.x starts every file again after a kill, verifies no content, uses one connection per file and can't be
stopped. Here large files are fetched in ranges over several connections, in order, so that one hasher can follow. One
thread serves all connections; a refused request waits while others make progress. Where the Hub offers Xet, separate
threads fetch ranges over it, too.

One process per model: the connections' thread takes 1.1 s of CPU per GiB over TLS, which limits a download to about 8
Gbit/s. Several processes would be faster with spare cores, but concurrent models have a process each already, and a
file's hasher is the next bottleneck (0.8 s per GiB).
"""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from app.domain.errors import Reason
from app.storage.incoming import Arrival
from worker.download.allocator import RangeAllocator
from worker.download.answers import NoRanges, Trouble, WrongLength
from worker.download.connections import Connections
from worker.download.http import Response, Wire
from worker.download.listing import HubFile
from worker.download.options import DownloadOptions
from worker.download.partial import Partial
from worker.download.saver import Keep, Saver
from worker.download.schedule import SMALL_AT_ONCE, Schedule
from worker.download.streams import Streams
from worker.download.transfers import FileTransfer, RangeTransfer, Sink, Transfer
from worker.download.ways import Ways
from worker.download.xet import Store

SMALL = 1 << 20
"""Files up to this many bytes are fetched whole, in memory, many at a time."""
_HASHERS = 2
_TURN = 0.1
"""Seconds between checks for other work."""
_SOON = 0.01
"""The same while nothing can be fetched, as the storage or the hasher is behind."""
_PROGRESS = 1 << 20
_OTHERS_PROGRESS = 1 << 16
"""Bytes that count as progress: when no other request runs, and while others run."""


class Fetcher:
    """Fetches `large` and `small` files into a tree, once."""

    def __init__(
        self,
        large: Sequence[RangeAllocator],
        small: Sequence[HubFile],
        wire: Wire[Transfer],
        store: Store,
        arrival: Arrival,
        sink: Sink,
        keep: Keep,
        options: DownloadOptions,
        *,
        xet: str,
    ) -> None:
        self._large, self._wire, self._arrival = large, wire, arrival
        self._meter, self._keep = sink.meter, keep
        self._both = [allocator for allocator in large if allocator.file.xet]
        self._empty = [file for file in small if not file.size]
        self._ways = ways = Ways(xet, time.monotonic())
        self._schedule = Schedule(
            large,
            [file for file in small if file.size],
            ways,
            sink,
            connections=options.connections,
            retries=options.retries,
        )
        self._streams = Streams(store, self._both, sink, ways, window=options.stall.window, most=options.connections)
        self._most = (options.connections if large else 0) + min(SMALL_AT_ONCE, len(small))
        self._connections = Connections(self._most, time.monotonic())
        self._stopped = threading.Event()
        self._wrong: set[HubFile] = set()
        self._saver = Saver(arrival, keep, self._refuse)
        self._connecting = ThreadPoolExecutor(1, thread_name_prefix="connections")
        self._hashers = ThreadPoolExecutor(_HASHERS, thread_name_prefix="hasher")

    def fetch(self) -> list[HubFile]:
        """Fetch all; return the files that differ from the manifest, of which nothing is kept.

        Raises `TryAgain`, `Failed` or `OSError`; threads may then still run and write bytes that already arrived.
        """
        for file in self._empty:
            self._saver.save(file, b"")
        running = {self._hashers.submit(self._hash, allocator.partial) for allocator in self._large}
        running.add(self._connecting.submit(self._transfer))
        try:
            for future in wait(running, return_when=FIRST_EXCEPTION).done:
                future.result()
        finally:
            self._stopped.set()
            self._streams.stop()
            self._end(wait=False)
        return list(self._wrong)

    def finish(self) -> None:
        """Wait, after a failure, until no thread moves a file to its place any more."""
        self._end(wait=True)

    def _end(self, *, wait: bool) -> None:
        for pool in (self._connecting, self._hashers):
            pool.shutdown(wait=wait, cancel_futures=True)
        self._saver.end(wait=wait)

    def _transfer(self) -> None:
        """Serve all connections until everything is fetched."""
        began = self._meter.fetched
        over_xet = self._ways.xet
        try:
            while not self._stopped.is_set():
                moment = time.monotonic()
                if self._both:
                    self._look(moment)
                    self._streams.turn(moment)
                if over_xet != self._ways.xet:
                    over_xet, began = self._ways.xet, self._meter.fetched
                    self._connections = Connections(self._most, moment)
                self._connections.look(moment, self._meter.fetched - began)
                self._begin(moment)
                if self._schedule.is_over(moment) and self._streams.is_over:
                    if self._saver.is_done(within=_TURN):
                        return
                    continue
                self._saver.is_done()
                for response in self._wire.turn(_TURN if self._schedule.running or self._ways.xet else _SOON):
                    self._receive(response)
        finally:
            self._wire.close()

    def _look(self, moment: float) -> None:
        left = sum(allocator.file.size - allocator.partial.counted for allocator in self._both)
        self._ways.look(moment, self._meter.fetched, left)

    def _begin(self, moment: float) -> None:
        """Begin as many transfers as may run."""
        while transfer := self._schedule.begin(
            moment, allowed=self._connections.allowed, small=not self._saver.is_full
        ):
            self._wire.begin(transfer)

    def _receive(self, response: Response[Transfer]) -> None:
        transfer, error = response.transfer, response.error
        if response.chunks and not transfer.receive(response):
            self._wire.stop(transfer)
            error = None  # no more is wanted
        elif not response.is_over:
            return
        self._schedule.end(transfer)
        if error is None and not transfer.done:
            error = Trouble(Reason.UNAVAILABLE, f"The connection ended in the middle of {transfer.file.path!r}.")
        self._ended(transfer, error)

    def _ended(self, transfer: Transfer, error: Exception | None) -> None:
        match error:
            case None if isinstance(transfer, FileTransfer):
                self._saver.save(transfer.file, transfer.data())
            case None:
                pass
            case WrongLength() if isinstance(transfer, RangeTransfer):
                transfer.abandon()
            case WrongLength():
                self._wrong.add(transfer.file)
            case NoRanges():
                if isinstance(transfer, FileTransfer) or transfer.without_ranges():
                    self._again(transfer, _no_ranges(transfer.file))
            case Trouble():
                self._again(transfer, error)
            case _:
                raise error

    def _again(self, transfer: Transfer, trouble: Trouble) -> None:
        """Retry later, or raise `TryAgain` after too many failures in a row without progress of any request."""
        retries, moment, running = transfer.retries, time.monotonic(), self._schedule.running
        retries.failed(
            trouble, moment, fetched=self._meter.fetched, progress=_OTHERS_PROGRESS if running else _PROGRESS
        )
        if trouble.crowded and running:
            self._connections.refused(moment, running)
        transfer.restart(relocate=trouble.relocate or retries.failures > 1)
        if retries.is_exhausted:
            raise retries.error()
        self._schedule.again(transfer)

    def _hash(self, partial: Partial) -> None:
        """Hash a file in order; keep it if it is complete and matches its checksum."""
        checksum = partial.hash(self._stopped)
        if self._stopped.is_set():
            return
        if checksum and checksum.matches():
            partial.keep()
            self._keep(partial.file, checksum.sha256)
        else:
            partial.drop()
            self._meter.add(-partial.counted)
            self._wrong.add(partial.file)

    def _refuse(self, file: HubFile) -> None:
        self._meter.add(-file.size)
        self._wrong.add(file)


def _no_ranges(file: HubFile) -> Trouble:
    return Trouble(Reason.UNAVAILABLE, f"The server sends {file.path!r} from its beginning only, and not to its end.")
