"""A real Ollama pulls from a depot, where there is one on this machine: tests/hub_api/test_ollama.py replays its requests."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.conftest import StartDepot
from tests.depot import Depot
from tests.fakehub.hub import Hub
from tests.hub_api.conftest import FILES, GGUF, gguf
from tests.processes import free_port, until

_OLLAMA = shutil.which("ollama")
pytestmark = [
    pytest.mark.skipif(_OLLAMA is None, reason="there is no ollama on this machine"),
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]


@pytest.fixture
def depot(start_depot: StartDepot, hub: Hub) -> Depot:
    hub.add(GGUF, FILES[GGUF])
    depot = start_depot(anonymous_pull="on")
    assert depot.wait(depot.create(GGUF)["id"])["state"] == "success"
    return depot


@pytest.fixture
def ollama(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A server of Ollama's; the environment in which its commands find it."""
    address = f"127.0.0.1:{free_port()}"
    own = {"OLLAMA_HOST": address, "OLLAMA_MODELS": str(tmp_path / "models"), "HOME": str(tmp_path)}
    environment = {"PATH": os.environ["PATH"], **own}
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen([_OLLAMA or "", "serve"], env=environment, stdout=log, stderr=log)
    try:
        until(lambda: _answers(address), (tmp_path / "log").read_text)
        yield environment
    finally:
        server.terminate()
        server.wait()


def _answers(address: str) -> bool:
    try:
        return httpx2.get(f"http://{address}/api/version").is_success
    except httpx2.TransportError:
        return False


def _pull(depot: Depot, environment: dict[str, str], name: str) -> subprocess.CompletedProcess[str]:
    words = [_OLLAMA or "", "pull", "--insecure", f"http://127.0.0.1:{depot.port}/{name}"]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=120)


def test_ollama_pulls_a_model_and_its_projector(depot: Depot, ollama: dict[str, str]) -> None:
    pulled = _pull(depot, ollama, f"{GGUF}:Q4_K_M")
    assert pulled.returncode == 0, pulled.stderr
    blobs = Path(ollama["OLLAMA_MODELS"]) / "blobs"
    for content in (gguf("llama"), gguf("clip", 700)):
        assert (blobs / f"sha256-{hashlib.sha256(content).hexdigest()}").read_bytes() == content
    listed = subprocess.run([_OLLAMA or "", "list"], env=ollama, capture_output=True, text=True, check=True)
    assert f"{GGUF}:Q4_K_M" in listed.stdout


def test_ollama_says_what_the_depot_does_not_keep(depot: Depot, ollama: dict[str, str]) -> None:
    refused = _pull(depot, ollama, "acme/nothing:latest")
    assert refused.returncode != 0
    assert "does not exist" in refused.stderr or "does not keep" in refused.stderr, refused.stderr
