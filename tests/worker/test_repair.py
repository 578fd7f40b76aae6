"""`modeldepot storage verify --repair`: the model stays ready, at its path, whatever comes of it."""

import os
import secrets
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_storage_commands import ready, rot, storage_command
from tests.conftest import StartDepot
from tests.depot import Depot
from tests.fakehub.hub import Fault, Hub

WEIGHTS = os.urandom(2 << 20)
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@SQLITE
def test_a_repair_that_fails_leaves_the_model_as_it_was(start_depot: StartDepot, hub: Hub) -> None:
    hub.add("acme/tiny", {"README.md": b"hello", "model.safetensors": WEIGHTS})
    depot = start_depot(attempts=1, backoff=0.1)
    model = ready(depot, "acme/tiny")
    deployed = depot.client.post("/ai/deployment", json={"name": "engine", "model": {"id": model["id"]}})
    assert deployed.status_code == 200
    published = depot.storage / "models" / model["id"]
    rot(published / "README.md")
    before = _contents(published)
    hub.misbehave(Fault("status", status=503, times=None))
    failed = _repair(depot, model)
    assert (failed["state"], failed["reason"]) == ("failure", "unavailable")
    assert _contents(published) == before
    assert _lasting(depot.model(model["id"])) == _lasting(model)
    assert (depot.storage / "by-name" / "acme" / "tiny").resolve() == published

    hub.behave()
    sound = (published / "model.safetensors").stat().st_ino
    hub.forget()
    assert _repair(depot, model)["state"] == "success"
    assert (published / "README.md").read_bytes() == b"hello"
    assert (published / "model.safetensors").stat().st_ino == sound
    assert hub.bytes_sent() == len(b"hello")
    assert _lasting(depot.model(model["id"])) == _lasting(model)
    assert storage_command(depot, "verify").returncode == 0


@SQLITE
def test_a_gated_model_is_repaired_with_a_token_and_left_ready_without(
    start_depot: StartDepot, hub: Hub, tmp_path: Path
) -> None:
    token = f"hf_{secrets.token_hex(17)}"
    hub.account(token, may_read=["acme/closed"])
    hub.add("acme/closed", {"README.md": b"hello", "model.safetensors": WEIGHTS}, private=True)
    depot = start_depot()
    model = ready(depot, "acme/closed", huggingface_token=token)
    published = depot.storage / "models" / model["id"]
    rot(published / "README.md")
    refused = _repair(depot, model)
    assert (refused["state"], refused["reason"]) == ("failure", "not-found")
    assert _lasting(depot.model(model["id"])) == _lasting(model)
    (tmp_path / "token").write_text(f"{token}\n")
    assert _repair(depot, model, f"--token-file={tmp_path / 'token'}")["state"] == "success"
    assert (published / "README.md").read_bytes() == b"hello"
    assert token not in depot.logs()


def _repair(depot: Depot, model: dict[str, Any], *words: str) -> dict[str, Any]:
    """The operation, once it has ended."""
    begun: subprocess.CompletedProcess[str] = storage_command(depot, "verify", "--repair", *words, model["id"])
    assert begun.returncode == 1, begun.stderr
    return depot.wait(begun.stdout.split()[-1])


def _lasting(model: dict[str, Any]) -> dict[str, Any]:
    return {key: model.get(key) for key in ("status", "path", "commit", "model-size", "reason", "message")}


def _contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_ino, path.read_bytes()) for path in folder.iterdir()}
