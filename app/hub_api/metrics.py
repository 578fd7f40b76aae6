"""Metrics of what these routes answer and send."""

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge


class HubMetrics:
    """Requests by route and status, and the files that are being sent."""

    def __init__(self, registry: CollectorRegistry) -> None:
        answers = Counter(
            "modeldepot_hub_requests",
            "Requests of the Hub's clients, by route and status.",
            ("route", "status"),
            registry=registry,
        )
        self._answers = cache(answers.labels)
        self._bytes = Counter("modeldepot_hub_sent_bytes", "Bytes of files that were sent.", registry=registry)
        self._active = Gauge("modeldepot_hub_active_sends", "Files that are being sent.", registry=registry)

    def answered(self, route: str, status: int) -> None:
        self._answers(route, status).inc()

    def begin(self) -> None:
        self._active.inc()

    def end(self, number: int) -> None:
        """Record the end of a file that was begun, of which `number` bytes were sent."""
        self._active.dec()
        self._bytes.inc(number)
