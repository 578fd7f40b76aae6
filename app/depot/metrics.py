"""Prometheus metrics: of every process, and of the whole depot by the API."""

import math
from functools import cache
from importlib.metadata import version
from itertools import product

from prometheus_client import CollectorRegistry, Gauge, Histogram, Info, ProcessCollector, generate_latest

from app.db.errors import DatabaseUnreachable
from app.db.session import Database
from app.depot.figures import Figures
from app.depot.readiness import Readiness
from app.depot.volume import Volume, VolumeAway
from app.domain.commands import Command
from app.domain.errors import Reason
from app.domain.states import OperationState

_PATIENCE = 3.0
"""Seconds that a scrape waits for the database."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "DELETE"})


class StoreMetrics:
    """Metrics of the requests to an object store: `asked` is the `observe` of `open_store`."""

    def __init__(self) -> None:
        self.seconds = Histogram(
            "modeldepot_object_store_seconds",
            "Requests to the object store by operation and status, with their repetitions, until the answer begins.",
            ("operation", "status"),
            registry=None,  # The store is made before the registry.
        )

    def asked(self, operation: str, status: str, seconds: float) -> None:
        self.seconds.labels(operation, status).observe(seconds)


class ProcessMetrics:
    """Metrics of any process of a depot, and of its storage."""

    def __init__(self, process: str, volume: Volume, store: StoreMetrics | None = None) -> None:
        self._volume = volume
        self.registry = CollectorRegistry()
        if store:
            self.registry.register(store.seconds)
        ProcessCollector(registry=self.registry)
        build = Info("modeldepot_build", "The version that runs.", registry=self.registry)
        build.info({"version": version("modeldepot"), "process": process})
        self._used = Gauge(
            "modeldepot_storage_used_bytes", "Used on the storage's file system.", registry=self.registry
        )
        self._free = Gauge(
            "modeldepot_storage_free_bytes", "Free on the storage's file system.", registry=self.registry
        )
        self._checks = Gauge(
            "modeldepot_check_ok", "Whether the process has what it needs: /readyz.", ("check",), registry=self.registry
        )

    async def scrape(self, readiness: Readiness) -> bytes:
        """Return all metrics, in Prometheus's text format. What is unknown at the moment is NaN, or left out."""
        _, report = await readiness.report()
        for name, check in report["checks"].items():
            self._checks.labels(name).set(check["ok"])
        try:
            usage = await self._volume.look()
        except VolumeAway:
            self._used.set(math.nan)
            self._free.set(math.nan)
        else:
            self._used.set(math.nan if usage.used is None else usage.used)
            self._free.set(math.nan if usage.free is None else usage.free)
        return generate_latest(self.registry)


class ApiMetrics(ProcessMetrics):
    """Also metrics of the whole depot, from its rows. Counting a million operations takes 0.15 s."""

    def __init__(self, volume: Volume, database: Database, figures: Figures, store: StoreMetrics | None = None) -> None:
        super().__init__("api", volume, store)
        self._database, self._figures = database, figures
        requests = Histogram(
            "modeldepot_request_seconds",
            "Requests by method and status, until the answer begins.",
            ("method", "status"),
            registry=self.registry,
        )
        self._requests_by = cache(requests.labels)
        self._operations = Gauge(
            "modeldepot_operations", "Operations that are remembered.", ("command", "state"), registry=self.registry
        )
        self._due = Gauge("modeldepot_operations_due", "Operations that any worker may claim.", registry=self.registry)
        self._oldest = Gauge(
            "modeldepot_oldest_due_age_seconds", "How long the first of them has waited.", registry=self.registry
        )
        self._failed = Gauge(
            "modeldepot_failed_operations",
            "Operations that ended badly in the last hour.",
            ("state", "reason"),
            registry=self.registry,
        )
        self._undelivered = Gauge(
            "modeldepot_webhooks_undelivered",
            "Messages that were sent to the receiver of webhooks and did not arrive.",
            registry=self.registry,
        )
        self._oldest_undelivered = Gauge(
            "modeldepot_oldest_undelivered_webhook_age_seconds",
            "How old the first of them is.",
            registry=self.registry,
        )

    def answered(self, method: str, status: int, seconds: float) -> None:
        """Record an answer that took `seconds` to begin: an event stream's end depends on its reader only."""
        # Anybody can invent methods, and each would be kept.
        self._requests_by(method if method in _METHODS else "other", status).observe(seconds)

    async def scrape(self, readiness: Readiness) -> bytes:
        try:
            async with self._database.read(within=_PATIENCE) as connection:
                census = await self._figures.census.look(connection)
                undelivered = await self._figures.undelivered.look(connection)
        except DatabaseUnreachable:
            self._operations.clear()
            self._failed.clear()
            for figure in (self._due, self._oldest, self._undelivered, self._oldest_undelivered):
                figure.set(math.nan)
        else:
            for command, state in product(Command, OperationState):
                self._operations.labels(command, state).set(census.by.get((command, state), 0))
            for state, reason in product((OperationState.FAILURE, OperationState.TIMEOUT), Reason):
                self._failed.labels(state, reason).set(census.failed.get((state, reason), 0))
            self._due.set(census.due)
            self._oldest.set(census.oldest_due)
            self._undelivered.set(undelivered.number)
            self._oldest_undelivered.set(undelivered.oldest)
        return await super().scrape(readiness)
