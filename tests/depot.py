"""A depot of real processes: the API and workers on one database, one Redis and one folder."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import httpx2

from app.standalone.supervisor import answers
from tests.forking import Forked, Process
from tests.processes import free_port, until

_CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("DEPOT_", "HF_"))}
SECRET_KEY = "bW9kZWwgZGVwb3QncyB0ZXN0cyBzZWFsIHdpdGggaXQ="
"""One for all, so that two depots may share a database."""
KEY, SECRET = "EXOtheoperatorofalltests", "the-secret-of-all-tests"
"""The credentials of the client of every depot."""
CREDENTIALS = {"Authorization": f"Bearer {KEY}:{SECRET}"}
# Quick where the product is patient, and with its full share of a busy machine.
_QUICK = {"LEASE": 3, "POLL_INTERVAL": 0.5, "BACKOFF": 0.1, "RESERVE": 0, "NICENESS": 0}


class Depot:
    """Its processes run until `close`. `settings` are those of the environment, without their prefix.

    `trust` is the file of authorities, if not that of the environment. `executed`: its processes have a command line, an
    environment and memory of their own, also where `forks` saves starting them.
    """

    forks: ClassVar[bool] = False

    def __init__(
        self,
        folder: Path,
        *,
        database_url: str,
        redis_url: str,
        hub_endpoint: str,
        trust: str | None = None,
        workers: int = 1,
        api: bool = True,
        executed: bool = False,
        **settings: object,
    ) -> None:
        self._executed = executed
        self.folder, self.storage = folder, folder / "storage"
        self.storage.mkdir(parents=True, exist_ok=True)
        own = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "HUB_ENDPOINT": hub_endpoint,
            "STORAGE": self.storage,
            "HOST": "127.0.0.1",
            "PORT": free_port(),
            "SECRET_KEY": SECRET_KEY,
            "BOOTSTRAP_KEY": KEY,
            "BOOTSTRAP_SECRET": SECRET,
        }
        words = _QUICK | own | {name.upper(): value for name, value in settings.items()}
        self.host, self.port = str(words["HOST"]), int(str(words["PORT"]))
        trust = trust or os.environ.get("SSL_CERT_FILE")
        trusted = {"SSL_CERT_FILE": trust} if trust else {}
        self.environment = _CLEAN | trusted | {f"DEPOT_{name}": str(value) for name, value in words.items()}
        # Plain HTTP: to read all authorities takes as long as thirty requests.
        self.client = httpx2.Client(base_url=self.address("/v2"), timeout=30, headers=CREDENTIALS, verify=False)
        self.workers: list[Process] = []
        self.api: Process | None = None
        self.api_metrics_port = free_port() if words.get("METRICS_PORT") else 0
        """The workers' is the one in the settings."""
        self.sources: Path | None = None
        """Those of another version, for what is started next."""
        self._started: list[Process] = []
        if api:
            self.start_api()
        for _ in range(workers):
            self.start_worker()

    def start_api(self) -> Process:
        """Start it and wait until it answers."""
        self.api = process = self._start("api", "app.cli", "serve", DEPOT_METRICS_PORT=str(self.api_metrics_port))
        tls = bool(self.environment.get("DEPOT_TLS_CERTIFICATE"))
        until(lambda: answers(self.host, self.port, tls=tls) or process.poll() is not None, self.logs)
        assert process.poll() is None, self.logs()
        return process

    def start_worker(self) -> Process:
        """Start one more; it looks for work once it is ready."""
        worker = self._start("worker", "worker.main")
        self.workers.append(worker)
        return worker

    def create(self, name: str, **keys: Any) -> dict[str, Any]:
        """The operation of a create-model."""
        body = {"name": name} | {key.replace("_", "-"): value for key, value in keys.items()}
        answer = self.client.post("/ai/model", json=body)
        assert answer.status_code == 200, answer.text
        operation: dict[str, Any] = answer.json()
        return operation

    def wait(self, operation_id: str, seconds: float = 60.0) -> dict[str, Any]:
        """The operation once it has ended."""
        operation: dict[str, Any] = {}

        def ended() -> bool:
            operation.update(self.client.get(f"/operation/{operation_id}").json())
            return bool(operation["state"] != "pending")

        until(ended, self.logs, seconds)
        return operation

    def model(self, model_id: str) -> dict[str, Any]:
        model: dict[str, Any] = self.client.get(f"/ai/model/{model_id}").json()
        return model

    def address(self, path: str) -> str:
        """Where the API answers what is not under `/v2`."""
        return f"http://{self.host}:{self.port}{path}"

    def logs(self) -> str:
        """What all its processes said so far."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))

    def close(self) -> None:
        self.client.close()
        for process in self._started:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self._started:
            try:
                process.wait(12)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, name: str, module: str, *words: str, **environment: str) -> Process:
        process: Process
        with (self.folder / f"{len(self._started)}-{name}.log").open("wb") as log:
            if self.forks and not self._executed and self.sources is None:
                process = Forked([module, *words], self.environment | environment, log)
            else:
                process = subprocess.Popen(
                    [sys.executable, "-m", module, *words],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self.environment | environment,
                    cwd=self.sources,
                    start_new_session=True,
                )
        self._started.append(process)
        return process
