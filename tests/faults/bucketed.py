"""Runs the download's process against an object store, as a worker does."""

from pathlib import Path
from typing import Any

from app.storage.locations import S3Options
from app.storage.manifests import File, Manifest
from tests.buckets import Place
from tests.faults.engine import Attempting, Attempts, Endpoint, Outcome
from worker.download.protocol import Message, Verified

MEMORY = 64 << 20
"""What a worker with four slots gives each download."""


class BucketEngine(Attempts):
    """Attempts whose files are in a bucket. `endpoint`: of what stands in front of the store."""

    def __init__(self, hub: Endpoint, place: Place, name: str, *, endpoint: str = "", **job: Any) -> None:
        options = place.server.options
        reached = S3Options(endpoint or options.endpoint, access_key=options.access_key, secret_key=options.secret_key)
        super().__init__(hub, place.location, name, **{"s3": reached, "memory": MEMORY} | job)
        self.place = place
        self.store = place.open()
        self.store.prepare()

    def publish(self, outcome: Outcome) -> None:
        """As a worker does after `done`."""
        self.store.publish(self._attempt, self._manifest(outcome))

    def mend(self, outcome: Outcome) -> None:
        """The same after a repair."""
        self.store.mend(self._attempt, self._manifest(outcome))

    def published(self, outcome: Outcome) -> dict[str, bytes]:
        """Publish what the last attempt completed; its files."""
        self.publish(outcome)
        return self.read(outcome)

    def read(self, outcome: Outcome) -> dict[str, bytes]:
        """The published files."""
        files = {}
        for one in outcome.all(Verified):
            with self.store.open(self.model_id, one.path).reader() as file:
                files[one.path] = file.read()
        return files

    def _manifest(self, outcome: Outcome) -> Manifest:
        verified = [File(one.path, one.size, one.sha256, one.blob_id) for one in outcome.all(Verified)]
        return Manifest(self.model_id, self._job["name"], "main", [], [], "", verified)

    def keys(self, end: str = "") -> list[str]:
        """The keys of its files, or of those that end so."""
        return keys(self.place, "models/", str(self.model_id), end)

    def arriving(self) -> list[str]:
        """The keys of what is recorded of files that arrive."""
        return arriving(self.place)


def keys(place: Place, start: str = "", within: str = "", end: str = "") -> list[str]:
    """The keys that begin, are made, and end so."""
    stored = iter(place.keys())
    return [key for key in stored if key.startswith(start) and within in key and key.endswith(end)]


def arriving(place: Place) -> list[str]:
    """The keys of what is recorded of uploads."""
    return [key for key in keys(place, "depot/arriving/") if not key.endswith("attempt.json")]


def with_memory(attempting: Attempting) -> tuple[Outcome, int]:
    """Hear an attempt out. Return the most bytes of memory that it had at any of its messages, too."""
    most = 0

    def look(_message: Message) -> bool:
        nonlocal most
        for line in Path(f"/proc/{attempting.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):  # not of a process that has ended
                most = int(line.split()[1]) * 1024
        return False

    return attempting.outcome(look), most
