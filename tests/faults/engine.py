"""Runs the download's child process by itself, as a worker does, against the Hub on loopback."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self
from uuid import UUID, uuid4

from app.storage.posix import Attempt, Storage
from worker.processes import HUGGING_FACE

CLEAN = {
    name: value for name, value in os.environ.items() if not name.startswith(("HF_", "DEPOT_", "http", "HTTP", "NO_"))
}
UNDER_WAY = 8 << 20
"""Bytes that the Hub may send in vain as connections take over the ends of others' pieces: on a slow machine they do."""


@dataclass
class Outcome:
    """How a download ended: `done`, or the message of its failure."""

    messages: list[Mapping[str, Any]] = field(default_factory=list)

    def last(self, event: str) -> Mapping[str, Any]:
        assert any(message["event"] == event for message in self.messages), self.messages
        return next(message for message in reversed(self.messages) if message["event"] == event)

    @property
    def done(self) -> bool:
        return bool(self.messages) and self.messages[-1]["event"] == "done"

    @property
    def reason(self) -> str:
        return str(self.last("failed")["reason"])

    @property
    def text(self) -> str:
        return str(self.last("failed")["message"])


class Endpoint(Protocol):
    """What a Hub is to the engine."""

    @property
    def endpoint(self) -> str: ...
    @property
    def trust(self) -> str | None: ...


class Engine:
    """One attempt after another at one model of one Hub."""

    def __init__(self, hub: Endpoint, folder: Path, name: str, **job: Any) -> None:
        self.storage = Storage(folder)
        self.storage.prepare()
        self.model_id, self.operation_id = uuid4(), uuid4()
        self.links: dict[str, str] = {}
        self.environment: dict[str, str] = {}
        self._trusted = {"SSL_CERT_FILE": hub.trust} if hub.trust else {}
        self.max_file_size: int | None = None
        self._fence = 0
        self._job: dict[str, Any] = {
            "model": str(self.model_id),
            "operation": str(self.operation_id),
            "name": name,
            "revision": "main",
            "commit": None,
            "mends": False,
            "include": [],
            "exclude": [],
            "token": None,
            "endpoint": hub.endpoint,
            "redirects_inside": False,
            "storage": str(folder),
            "lease": 60,
            "connections": 8,
            "backoff": 0.02,
            "xet": "auto",
            "fetcher": "own",
            "stall_window": 1.0,
            "stall_rate": 1024,
        } | job

    def start(self, **job: Any) -> "Attempting":
        self._fence += 1
        message = self._job | job | {"fence": self._fence}
        environment = CLEAN | HUGGING_FACE | {"HF_ENDPOINT": message["endpoint"]} | self._trusted | self.environment
        return Attempting(message, environment, self.links, self.max_file_size)

    def run(self, **job: Any) -> Outcome:
        with self.start(**job) as attempting:
            return attempting.outcome()

    def publish(self) -> Path:
        """As a worker does after `done`."""
        return self.storage.publish(Attempt(UUID(str(self.model_id)), self.operation_id, self._fence))

    @property
    def tree(self) -> Path:
        """Where the last attempt's verified files are."""
        return self.storage.tree(Attempt(self.model_id, self.operation_id, self._fence))

    @property
    def scratch(self) -> Path:
        """Where its files in flight are."""
        return self.storage.scratch(Attempt(self.model_id, self.operation_id, self._fence))

    def arrived(self) -> list[Path]:
        """Every file that is here of the model, in flight or verified."""
        return [path for folder in (self.tree, self.scratch) for path in folder.rglob("*") if path.is_file()]


class Attempting:
    """A child at work; killed when the block ends."""

    def __init__(
        self,
        job: Mapping[str, Any],
        environment: Mapping[str, str],
        links: Mapping[str, str],
        max_file_size: int | None,
    ) -> None:
        self._job, self._environment, self._links = job, environment, links
        self._limit = (
            [] if max_file_size is None else ["sh", "-c", f'ulimit -f {max_file_size // 512}; exec "$@"', "sh"]
        )

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [*self._limit, sys.executable, "-m", "worker.download.main"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(self._environment),
        )
        self.send(**self._job)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()

    def send(self, **message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def beat(self) -> None:
        """As a worker does that renewed its lease."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def outcome(self, until: Callable[[Mapping[str, Any]], bool] = lambda _message: False) -> Outcome:
        """Hear it out, to its end or `until` a message."""
        outcome = Outcome()
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message = json.loads(line)
            outcome.messages.append(message)
            if message["event"] == "resolved":
                self.send(links={sha256: [path] for sha256, path in self._links.items()}, awaited=[])
            if message["event"] == "planned":
                self.send()
            if until(message):
                break
        return outcome
