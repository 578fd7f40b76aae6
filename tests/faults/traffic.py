"""What clients do to a depot under faults: creates, retries and deletes, each answer remembered."""

import random
import time
from typing import Any

import httpx2

from tests.fakehub.hub import Files, Hub, Synthetic
from tests.faults.background import Background

_REPOS = 8
_PAUSE = 0.15
_EXPECTED = {200, 404, 409, 503}


class Traffic(Background):
    """One client, from `with` to the end of it. Every accepted operation must end: `finish` waits for that."""

    def __init__(self, hub: Hub, client: httpx2.Client, seed: int, unit: int = 1 << 20) -> None:
        self.accepted: dict[str, dict[str, Any]] = {}
        """Operations as they last were, by id."""
        self.unexpected: list[str] = []
        self.files: dict[str, Files] = {
            f"acme/model-{number}": {"config.json": b"{}", "model.safetensors": Synthetic((number + 1) * unit, number)}
            for number in range(_REPOS)
        }
        for name, files in self.files.items():
            hub.add(name, files)
        hub.total_rate = 6 * unit
        self._hub = hub
        self._names = [*self.files, "acme/absent"]
        self._random = random.Random(seed)
        self._client = client
        super().__init__(self._go_on)

    def close(self) -> None:
        """Let go of the connections, once nothing is asked any more."""
        self._client.close()

    def finish(self, seconds: float) -> None:
        """Wait until every accepted operation has ended, so many seconds at most."""
        self._hub.total_rate = None
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for operation_id in [one for one, seen in self.accepted.items() if seen["state"] == "pending"]:
                answer = self._ask("GET", f"/operation/{operation_id}")
                if answer is not None and answer.status_code == 200:
                    self.accepted[operation_id] = answer.json()
                elif answer is not None and answer.status_code == 404:
                    self.accepted[operation_id] = {"id": operation_id, "state": "lost"}
            if all(seen["state"] != "pending" for seen in self.accepted.values()):
                return
            time.sleep(0.2)

    def models(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._client.get("/ai/model").json()["models"]
        return found

    def _go_on(self) -> None:
        while not self._stop.wait(self._random.uniform(0, 2 * _PAUSE)):
            if self._random.random() < 0.65:
                answer = self._ask("POST", "/ai/model", json={"name": self._random.choice(self._names)})
            else:
                listed = self._ask("GET", "/ai/model")
                models = listed.json()["models"] if listed is not None and listed.status_code == 200 else []
                if not models:
                    continue
                answer = self._ask("DELETE", f"/ai/model/{self._random.choice(models)['id']}")
            if answer is not None and answer.status_code == 200:
                self.accepted[answer.json()["id"]] = answer.json()

    def _ask(self, method: str, path: str, **options: Any) -> httpx2.Response | None:
        """The answer; none while the API is away."""
        try:
            answer = self._client.request(method, path, **options)
        except httpx2.TransportError:
            return None
        if answer.status_code not in _EXPECTED:
            self.unexpected.append(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer
