"""The download process: fetches one model's files, verifies them and reports progress.

`worker.download.forkserver` forks it; `python -m worker.download.main` runs one alone.

It reads a request from standard input and writes messages: see `worker.download.protocol`.

It is a separate process because only a kill stops a download whatever it waits for.
"""

import errno
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from app.domain.errors import DepotError, Failed, Reason
from app.storage import open_store
from app.storage.base import Attempt, Store
from app.storage.names import check_paths
from worker.download.assembly import Files, Means
from worker.download.channel import Channel
from worker.download.checksums import verify
from worker.download.client import Guard, Limits, make_client
from worker.download.elsewhere import Elsewhere
from worker.download.http import Patience
from worker.download.hub import Hub
from worker.download.listing import HubFile
from worker.download.meter import Meter
from worker.download.protocol import (
    Content,
    Crash,
    Done,
    DownloadRequest,
    Failure,
    Found,
    Go,
    Planned,
    Progress,
    Request,
    Resolved,
    Verified,
)
from worker.download.ranges import Pace
from worker.download.refusals import explain
from worker.download.throttle import Throttle
from worker.download.trust import Authorities

_TICK = 0.5


def main() -> None:
    run(Authorities.of_the_system())


def run(authorities: Authorities) -> None:
    """Carry out one request, then end the process."""
    channel = Channel()
    request = channel.receive(Request)
    limits = Limits(request.stall_window, request.stall_rate)
    make_client(request.endpoint, limits, authorities.context, redirects_inside=request.redirects_inside)
    hub = Hub(request.endpoint, request.name, request.token)
    try:
        if isinstance(request, DownloadRequest):
            Download(request, hub, channel, authorities).run()
        else:
            channel.send(Found(hub.commit(request.revision)))
    except Exception as error:  # noqa: BLE001  # the one place that maps every error to the contract
        _report(error, hub, request.revision, channel)
    # Threads that wait for a stalled server must not delay the end of the process.
    os._exit(0)


def _report(error: Exception, hub: Hub, revision: str, channel: Channel) -> None:
    try:
        known = explain(error, hub, revision)
    except DepotError as bug:
        channel.send(Crash(bug.message))
        raise error from None
    channel.send(Failure.of(known))


@dataclass(slots=True)
class Download:
    """One attempt at one model."""

    request: DownloadRequest
    hub: Hub
    channel: Channel
    authorities: Authorities

    def run(self) -> None:
        request = self.request
        may_read = self.hub.check_access()
        commit, wanted = self.hub.manifest(request.revision, request.include, request.exclude, pinned=request.commit)
        check_paths([file.path for file in wanted])
        if not may_read:
            self.hub.check_file(commit, wanted[0])
        total = sum(file.size for file in wanted)
        contents = {file.sha256: Content(file.sha256, file.size, file.path) for file in wanted if file.sha256}
        self.channel.send(Resolved(commit, total, len(wanted), list(contents.values())))
        elsewhere = Elsewhere(self.channel)
        elsewhere.hear()
        store = open_store(Path(request.storage))
        attempt = Attempt(request.model_id, request.operation_id, request.fence)
        with store.arrival(attempt, mends=request.mends) as arrival:
            if request.mends:
                wanted = self._rotten(wanted, store, attempt.model_id)
            arrival.prune({file.path: file.size for file in wanted})
            files = Files(self.hub, commit, arrival, wanted, elsewhere, self._means())
            self.channel.send(Planned(files.missing, list(files.awaited)))
            self.channel.receive(Go)
            self.channel.pass_on = files.pass_on
            # In a thread: the code that the signal interrupts may hold a lock that saving needs.
            signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=_stop, args=(files,)).start())
            with _ticking(files.meter, total, self.channel), _room_told(files.meter, total, store):
                files.complete()
        self.channel.send(Done())

    def _rotten(self, wanted: Sequence[HubFile], store: Store, model_id: UUID) -> Sequence[HubFile]:
        """Return the `wanted` files that are missing or wrong in the published model; report the rest as verified."""
        rotten = []
        for file in wanted:
            sha256 = None
            with suppress(OSError), store.open(model_id, file.path) as published:  # missing or unreadable: rotten
                sha256 = verify(file, published)
            if sha256 is None:
                rotten.append(file)
            else:
                self._keep(file, sha256)
        return rotten

    def _keep(self, file: HubFile, sha256: str) -> None:
        self.channel.send(Verified(file.path, file.size, sha256, None if file.sha256 else file.blob_id))

    def _means(self) -> Means:
        request, channel = self.request, self.channel
        return Means(
            pace=Pace(request.connections, request.backoff, request.stall_window),
            patience=Patience(request.stall_window, request.stall_rate),
            authorities=self.authorities,
            guard=Guard(request.endpoint, redirects_inside=request.redirects_inside),
            xet=request.xet,
            snapshot=request.fetcher == "snapshot",
            throttle=Throttle(lambda: channel.bandwidth),
            keep=self._keep,
        )


def _stop(files: Files) -> None:
    """Save what arrived and exit: a stopping worker releases its lease only when this process is gone."""
    with suppress(OSError):
        files.save()
    os._exit(0)


@contextmanager
def _room_told(meter: Meter, total: int, store: Store) -> Iterator[None]:
    """Raise `Failed` with the missing space if the disk becomes full during the block."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        message = (
            f"The storage is full: {max(total - meter.value, 0)} bytes are still needed and {store.space().free} are free. "
            "Free some space, then send the request again."
        )
        raise Failed(Reason.FAULT, message) from error


@contextmanager
def _ticking(meter: Meter, total: int, channel: Channel) -> Iterator[None]:
    """Report progress during the block."""
    stop = threading.Event()

    def tick() -> None:
        while not stop.wait(_TICK):
            meter.sample(time.monotonic())
            channel.send(Progress(min(meter.value, total), meter.rate))

    ticker = threading.Thread(target=tick, daemon=True, name="ticker")
    ticker.start()
    try:
        yield
    finally:
        stop.set()
        ticker.join()


if __name__ == "__main__":
    main()
