"""What these tests are given: a depot that keeps two repositories, and one that each test fills itself."""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from tests.conftest import StartDepot, migrated
from tests.depot import CREDENTIALS, Depot
from tests.fakehub.hub import Files, Hub, Synthetic
from tests.servers import Redis

BERT, GGUF = "acme/tiny-bert", "acme/tiny-GGUF"
ODD = "onnx/model O1 [x]+é.onnx"
_TENSORS = json.dumps({"weight": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]}}).encode()
WEIGHTS = struct.pack("<Q", len(_TENSORS)) + _TENSORS + bytes(range(64))


def gguf(architecture: str, size: int = 5000) -> bytes:
    """What a file of that architecture begins with, and then something."""
    key, value = b"general.architecture", architecture.encode()
    head = struct.pack("<4sIQQQ", b"GGUF", 3, 0, 1, len(key)) + key + struct.pack("<IQ", 8, len(value)) + value
    return head + bytes(index % 251 for index in range(size - len(head)))


FILES: dict[str, Files] = {
    BERT: {
        "config.json": b'{"model_type": "bert"}',
        "vocab.txt": b"one\ntwo\n",
        "model.safetensors": WEIGHTS,
        "onnx/config.json": b"{}",
        ODD: b"onnx" * 1000,
    },
    GGUF: {
        "README.md": b"# tiny",
        "empty.txt": b"",
        "tiny-Q4_K_M.gguf": gguf("llama"),
        "tiny-Q8_0.gguf": gguf("llama", 9000),
        "mmproj-F16.gguf": gguf("clip", 700),
        "sharded/tiny-F32-00001-of-00002.gguf": gguf("llama", 400),
        "sharded/tiny-F32-00002-of-00002.gguf": gguf("llama", 401),
        "big.bin": Synthetic(5 << 20, 1),
    },
}


@dataclass
class Kept:
    """A depot, and the Hub that it fetched from."""

    depot: Depot
    hub: Hub
    credentials = CREDENTIALS

    def ask(self, method: str, path: str, *, headers: dict[str, str] | None = None, **given: Any) -> httpx2.Response:
        """One request with a key; `path` is sent as it stands."""
        return httpx2.request(
            method, self.depot.address(path), headers=CREDENTIALS | (headers or {}), timeout=30, verify=False, **given
        )

    def get(self, path: str, **headers: str) -> httpx2.Response:
        return self.ask("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def pull(self, name: str, **selection: Any) -> str:
        """Have the depot fetch it. The id of the model."""
        operation = self.depot.create(name, **selection)
        ended = self.depot.wait(operation["id"])
        assert ended["state"] == "success", ended
        model_id: str = operation["reference"]["id"]
        return model_id

    def remove(self, model_id: str) -> None:
        operation = self.depot.client.delete(f"/ai/model/{model_id}").json()
        assert self.depot.wait(operation["id"])["state"] == "success"

    def commit(self, name: str) -> str:
        """The Hub's commit of main."""
        return self.hub.repos["models", name].branches["main"]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def kept(
    request: pytest.FixtureRequest, redis_server: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kept]:
    """One that keeps both repositories, which no test changes."""
    folder = tmp_path_factory.mktemp("hub-api")
    with Hub() as hub:
        for name, files in FILES.items():
            hub.add(name, files)
        depot = Depot(
            folder,
            database_url=migrated(request, folder),
            redis_url=redis_server.url,
            hub_endpoint=hub.endpoint,
            poll_interval=0.2,
        )
        try:
            kept = Kept(depot, hub)
            for name in FILES:
                kept.pull(name)
            yield kept
            assert "Traceback" not in depot.logs()
        finally:
            depot.close()


@pytest.fixture
def fresh(start_depot: StartDepot, hub: Hub) -> Iterator[Kept]:
    """One that keeps nothing yet; the Hub has both repositories."""
    for name, files in FILES.items():
        hub.add(name, files)
    depot = start_depot()
    yield Kept(depot, hub)
    assert "Traceback" not in depot.logs()
