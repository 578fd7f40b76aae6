"""Runs the download's child process by itself, as a worker does, against the Hub on loopback."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol, Self, TypeVar
from uuid import uuid4

from app.storage.base import Attempt
from app.storage.manifests import Manifest
from app.storage.posix import PosixStore
from tests.depot import Depot
from tests.forking import ForkedDownload
from tests.storage.attempts import LABEL
from worker.download.protocol import (
    Bandwidth,
    Done,
    DownloadRequest,
    Failure,
    Go,
    Located,
    Message,
    Planned,
    Resolved,
    decode,
    encode,
)
from worker.processes import HUGGING_FACE

T = TypeVar("T", bound=Message)
CLEAN = {
    name: value for name, value in os.environ.items() if not name.startswith(("HF_", "DEPOT_", "http", "HTTP", "NO_"))
}
UNDER_WAY = 8 << 20
"""Bytes that the Hub may send in vain as connections take over the ends of others' pieces: on a slow machine they do."""


@dataclass
class Outcome:
    """How a download ended: `done`, or the message of its failure."""

    messages: list[Message] = field(default_factory=list)

    def all(self, kind: type[T]) -> list[T]:
        return [message for message in self.messages if isinstance(message, kind)]

    def last(self, kind: type[T]) -> T:
        assert self.all(kind), self.messages
        return self.all(kind)[-1]

    @property
    def done(self) -> bool:
        return bool(self.messages) and isinstance(self.messages[-1], Done)

    @property
    def reason(self) -> str:
        return self.last(Failure).reason

    @property
    def text(self) -> str:
        return self.last(Failure).message


class Endpoint(Protocol):
    """What a Hub is to the engine."""

    @property
    def endpoint(self) -> str: ...
    @property
    def trust(self) -> str | None: ...


class Attempts:
    """One attempt after another at one model of one Hub."""

    def __init__(self, hub: Endpoint, storage: str, name: str, **job: Any) -> None:
        self.model_id, self.operation_id = uuid4(), uuid4()
        self.links: dict[str, str] = {}
        self.environment: dict[str, str] = {}
        self._trusted = {"SSL_CERT_FILE": hub.trust} if hub.trust else {}
        self.max_file_size: int | None = None
        self.executed = False
        """Whether its processes have a memory of their own."""
        self.attempting: type[Attempting] = Attempting
        self._fence = 0
        self._job: dict[str, Any] = {
            "model_id": self.model_id,
            "label": LABEL,
            "operation_id": self.operation_id,
            "name": name,
            "revision": "main",
            "commit": None,
            "mends": False,
            "include": [],
            "exclude": [],
            "token": None,
            "endpoint": hub.endpoint,
            "redirects_inside": False,
            "storage": storage,
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
        values = self._job | job | {"fence": self._fence}
        bandwidth = Bandwidth(values.pop("bandwidth", 0))
        request = DownloadRequest(**values)
        environment = CLEAN | HUGGING_FACE | {"HF_ENDPOINT": request.endpoint} | self._trusted | self.environment
        return self.attempting(request, bandwidth, environment, self.links, self.max_file_size, executed=self.executed)

    def run(self, **job: Any) -> Outcome:
        with self.start(**job) as attempting:
            return attempting.outcome()

    @property
    def _attempt(self) -> Attempt:
        return Attempt(self.model_id, LABEL, self.operation_id, self._fence)


class Engine(Attempts):
    """Attempts whose files are in a folder."""

    def __init__(self, hub: Endpoint, folder: Path, name: str, **job: Any) -> None:
        super().__init__(hub, str(folder), name, **job)
        self.storage = PosixStore(folder)
        self.storage.prepare()

    def publish(self) -> Path:
        """As a worker does after `done`."""
        self.storage.publish(self._attempt, Manifest(self.model_id, self._job["name"], "main", [], [], "", []))
        return self.storage.layout.published(self.model_id)

    @property
    def tree(self) -> Path:
        """Where the last attempt's verified files are."""
        return self.storage.layout.tree(self._attempt)

    @property
    def scratch(self) -> Path:
        """Where its files in flight are."""
        return self.storage.layout.scratch(self._attempt)

    def arrived(self) -> list[Path]:
        """Every file that is here of the model, in flight or verified."""
        return [path for folder in (self.tree, self.scratch) for path in folder.rglob("*") if path.is_file()]


class Attempting:
    """A child at work; killed when the block ends."""

    def __init__(
        self,
        request: DownloadRequest,
        bandwidth: Bandwidth,
        environment: Mapping[str, str],
        links: Mapping[str, str],
        max_file_size: int | None,
        *,
        executed: bool,
    ) -> None:
        self._executed = executed or max_file_size is not None
        self._said, self._environment, self._links = (bandwidth, request), environment, links
        self._limit = (
            [] if max_file_size is None else ["sh", "-c", f'ulimit -f {max_file_size // 512}; exec "$@"', "sh"]
        )

    def __enter__(self) -> Self:
        self.process: subprocess.Popen[bytes] | ForkedDownload
        if Depot.forks and not self._executed:
            self.process = ForkedDownload(self._environment)
        else:
            self.process = subprocess.Popen(
                [*self._limit, sys.executable, "-m", "worker.download.main"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=dict(self._environment),
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._begin(self.process.stdin, self.process.stdout)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._stdin.close()
        self._stdout.close()

    def send(self, message: Message) -> None:
        self._write(encode(message))

    def beat(self) -> None:
        """As a worker does that renewed its lease."""
        self._write(b"\n")

    def outcome(self, until: Callable[[Message], bool] = lambda _message: False) -> Outcome:
        """Hear it out, to its end or `until` a message."""
        outcome = Outcome()
        for line in self._stdout:
            message = decode(line)
            outcome.messages.append(message)
            if isinstance(message, Resolved):
                self.send(Located({sha256: [path] for sha256, path in self._links.items()}))
            if isinstance(message, Planned):
                self.send(Go())
            if until(message):
                break
        return outcome

    def _begin(self, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        """Tell a process, by its standard streams, what to do."""
        self._stdin, self._stdout = stdin, stdout
        for message in self._said:
            self.send(message)

    def _write(self, data: bytes) -> None:
        self._stdin.write(data)
        self._stdin.flush()
