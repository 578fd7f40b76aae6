"""The download process: fetches one model's files, verifies them and reports progress.

`worker.download.forkserver` forks it; `python -m worker.download.main` runs one alone.

It reads a request from standard input and writes messages: see `worker.download.protocol`.

It is a separate process because only a kill stops a download whatever it waits for.
"""

import errno
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from uuid import UUID

from app.domain.errors import DepotError, Failed, Reason
from app.domain.sizes import size
from app.storage import open_store
from app.storage.base import Attempt, Store
from app.storage.incoming import Arrival
from app.storage.names import check_paths
from worker.download.assembly import Assembly
from worker.download.channel import Channel
from worker.download.checksums import verify
from worker.download.client import Guard, make_client
from worker.download.elsewhere import Elsewhere
from worker.download.http import Wire
from worker.download.hub import Hub
from worker.download.listing import HubFile
from worker.download.meter import Meter
from worker.download.options import DownloadOptions
from worker.download.partials import Partials
from worker.download.plan import describe
from worker.download.protocol import (
    Content,
    Crash,
    Done,
    DownloadRequest,
    Failure,
    Found,
    Go,
    Matches,
    Planned,
    PlanRequest,
    Progress,
    Request,
    Resolved,
    SearchRequest,
    Verified,
)
from worker.download.refusals import explain
from worker.download.retries import RetryPolicy
from worker.download.search import search
from worker.download.stalls import StallLimit
from worker.download.stopping import save_and_exit_on_sigterm
from worker.download.survey import Survey
from worker.download.throttle import Throttle
from worker.download.transfers import Sink
from worker.download.tree import VerifiedTree
from worker.download.trust import Authorities

_TICK = 0.5


def main() -> None:
    run(Authorities.of_the_system())


def run(authorities: Authorities) -> None:
    """Carry out one request, then end the process."""
    channel = Channel()
    request = channel.receive(Request)
    guard = Guard(request.endpoint, redirects_inside=request.redirects_inside)
    stall = StallLimit(request.stall_window, request.stall_rate)
    make_client(request.endpoint, stall, authorities.context, guard)
    # A question's asker waits for some seconds only.
    retries = 5 if isinstance(request, DownloadRequest) else 0
    hub = Hub(request.endpoint, request.name, request.token, retries=retries)
    try:
        match request:
            case DownloadRequest():
                Download(request, hub, channel, authorities, guard).run()
            case PlanRequest():
                channel.send(describe(hub, request))
            case SearchRequest():
                channel.send(Matches(search(hub, request)))
            case _:
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
    guard: Guard

    def run(self) -> None:
        request = self.request
        may_read = self.hub.check_access()
        listing = self.hub.manifest(request.revision, request.include, request.exclude, pinned=request.commit)
        commit, wanted = listing.commit, listing.chosen
        check_paths([file.path for file in wanted])
        if not may_read:
            self.hub.check_file(commit, wanted[0])
        total = sum(file.size for file in wanted)
        contents = {file.sha256: Content(file.sha256, file.size, file.path) for file in wanted if file.sha256}
        self.channel.send(Resolved(commit, total, len(wanted), list(contents.values())))
        elsewhere = Elsewhere(self.channel)
        elsewhere.hear()
        store = open_store(request.storage, s3=request.s3)
        attempt = Attempt(request.model_id, request.label, request.operation_id, request.fence)
        with store.arrival(attempt, mends=request.mends) as arrival:
            if request.mends:
                wanted = self._rotten(wanted, store, attempt.model_id)
            self._complete(store, commit, wanted, arrival, elsewhere, total)
        self.channel.send(Done())

    def _complete(
        self,
        store: Store,
        commit: str,
        wanted: Sequence[HubFile],
        arrival: Arrival,
        elsewhere: Elsewhere,
        total: int,
    ) -> None:
        """Fetch what is missing of the `wanted` files, once the worker has found room for it."""
        partials, options = Partials(arrival, self.request.memory), self._options()
        survey = Survey.of(wanted, arrival, elsewhere, partials.open)
        tree = VerifiedTree(arrival, wanted, self._keep)
        tree.remove_strays()  # before the worker measures the free space
        self.channel.send(Planned(survey.missing, survey.awaited_checksums))
        self.channel.receive(Go)
        meter = Meter()
        assembly = Assembly(
            self.hub,
            commit,
            wanted,
            survey,
            elsewhere,
            tree=tree,
            arrival=arrival,
            wire=Wire(self.hub, commit, options.stall, self.authorities, self.guard),
            sink=Sink(meter, Throttle(lambda: self.channel.bandwidth)),
            partials=partials,
            keep=self._keep,
            options=options,
        )
        self.channel.on_pass_on(assembly.pass_on)
        # A stopping worker releases its lease only when this process is gone.
        save_and_exit_on_sigterm(assembly.save)
        with _ticking(meter, total, self.channel, assembly), _room_told(meter, total, store):
            assembly.complete()

    def _rotten(self, wanted: Sequence[HubFile], store: Store, model_id: UUID) -> Sequence[HubFile]:
        """Return the `wanted` files that are missing or wrong in the published model; report the rest as verified."""
        rotten = []
        for file in wanted:
            sha256 = None
            with (
                suppress(OSError),
                store.open(model_id, file.path).reader() as published,
            ):  # missing or unreadable: rotten
                sha256 = verify(file, published)
            if sha256 is None:
                rotten.append(file)
            else:
                self._keep(file, sha256)
        return rotten

    def _keep(self, file: HubFile, sha256: str) -> None:
        self.channel.send(Verified(file.path, file.size, sha256, None if file.sha256 else file.blob_id))

    def _options(self) -> DownloadOptions:
        request = self.request
        return DownloadOptions(
            connections=request.connections,
            retries=RetryPolicy(request.backoff),
            stall=StallLimit(request.stall_window, request.stall_rate),
            xet=request.xet,
            snapshot=request.fetcher == "snapshot",
        )


@contextmanager
def _room_told(meter: Meter, total: int, store: Store) -> Iterator[None]:
    """Raise `Failed` with the missing space if the disk becomes full during the block."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        free, needed = store.space().free, max(total - meter.value, 0)
        told = f": {error.strerror}." if free is None else f" and {size(free)} are free."
        message = (
            f"The storage is full: {size(needed)} are still needed{told} Delete models or free some space, then retry."
        )
        raise Failed(Reason.FAULT, message) from error


@contextmanager
def _ticking(meter: Meter, total: int, channel: Channel, assembly: Assembly) -> Iterator[None]:
    """Report progress during the block."""
    stop = threading.Event()

    def tick() -> None:
        while not stop.wait(_TICK):
            meter.sample(time.monotonic())
            channel.send(Progress(min(meter.value, total), meter.rate, assembly.arriving()))

    ticker = threading.Thread(target=tick, daemon=True, name="ticker")
    ticker.start()
    try:
        yield
    finally:
        stop.set()
        ticker.join()


if __name__ == "__main__":
    main()
