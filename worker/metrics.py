"""A worker's Prometheus metrics: outcome and duration of attempts, bytes fetched, slots in use."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from prometheus_client import Counter, Gauge, Histogram

from app.depot.metrics import ProcessMetrics, StoreMetrics
from app.depot.volume import Volume
from app.domain.commands import Command
from app.domain.errors import Reason

_SECONDS = (0.1, 0.5, 2, 10, 60, 300, 1800, 7200, 43_200)


class Outcome(StrEnum):
    """How an attempt at an operation ended.

    success, failure   the operation has ended with this state
    again              it will be tried again later
    put-back           something else must end first
    handed-over        the worker was asked to stop
    cancelled          a delete or the deadline ended the operation
    lost               the lease or the database was lost, so the result could not be stored
    """

    SUCCESS = "success"
    FAILURE = "failure"
    AGAIN = "again"
    PUT_BACK = "put-back"
    HANDED_OVER = "handed-over"
    CANCELLED = "cancelled"
    LOST = "lost"


@dataclass(slots=True)
class AttemptResult:
    """How one attempt ended: lost unless set."""

    outcome: Outcome = Outcome.LOST


class WorkerMetrics(ProcessMetrics):
    def __init__(self, volume: Volume, slots: int, store: StoreMetrics | None = None) -> None:
        super().__init__("worker", volume, store)
        self._slots, self._taken = slots, 0
        self._seconds = Histogram(
            "modeldepot_attempt_seconds",
            "Attempts at operations, from the claim on.",
            ("command", "outcome"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._busy = Gauge("modeldepot_slots", "Models of any size at a time.", ("state",), registry=self.registry)
        self._losses = Counter("modeldepot_lease_losses", "Attempts that lost their lease.", registry=self.registry)
        self._retries = Counter(
            "modeldepot_retries", "Attempts that are to be tried again.", ("reason",), registry=self.registry
        )
        self.downloads = Gauge("modeldepot_active_downloads", "Models being fetched.", registry=self.registry)
        self._downloaded = Counter("modeldepot_downloaded_bytes", "Bytes that arrived.", registry=self.registry)
        self.fetched = 0
        """Bytes that arrived."""
        for reason in Reason:
            self._retries.labels(reason)
        self._occupied(0)

    @contextmanager
    def attempt(self, command: Command, *, occupies: bool) -> Iterator[AttemptResult]:
        """Measure one attempt; with `occupies`, count a slot for any size as used. The block sets the outcome."""
        ending, begun = AttemptResult(), time.monotonic()
        self._occupied(+occupies)
        try:
            yield ending
        finally:
            self._occupied(-occupies)
            self._seconds.labels(command, ending.outcome).observe(time.monotonic() - begun)
            if ending.outcome is Outcome.LOST:
                self._losses.inc()

    def arrived(self, count: int) -> None:
        """Count bytes that arrived."""
        self.fetched += count
        self._downloaded.inc(count)

    def tried_again(self, reason: Reason) -> None:
        self._retries.labels(reason).inc()

    def _occupied(self, change: int) -> None:
        self._taken += change
        self._busy.labels("used").set(self._taken)
        self._busy.labels("free").set(self._slots - self._taken)
