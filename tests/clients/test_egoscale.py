"""The public Go SDK, as its users use it: a program of theirs is built and run."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import StartDepot
from tests.depot import KEY, SECRET
from tests.fakehub.hub import Hub

SOURCE = Path(__file__).with_name("egoscale")
NAME = "acme/small"
FILES = {"config.json": b"{}", "model.safetensors": b"weights"}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program in `egoscale/`."""
    path = tmp_path_factory.mktemp("go") / "program"
    if shutil.which("go") is None:
        pytest.skip("there is no Go here")
    if (fetched := go("list", "-deps", ".")).returncode:
        pytest.skip(f"the SDK's modules can't be fetched: {fetched.stderr.strip()[-300:]}")
    built = go("build", "-o", str(path), ".")
    assert built.returncode == 0, built.stderr
    return path


def go(*words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"GOFLAGS": "-mod=readonly -buildvcs=false"}
    return subprocess.run(
        ["go", *words], cwd=SOURCE, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_every_call_works_from_the_zone_to_the_last_error(start_depot: StartDepot, hub: Hub, program: Path) -> None:
    hub.add(NAME, FILES)
    depot = start_depot()
    done = subprocess.run(
        [program, f"http://127.0.0.1:{depot.port}/v2", NAME],
        env={"EXOSCALE_API_KEY": KEY, "EXOSCALE_API_SECRET": SECRET},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["endpoint"] == f"http://127.0.0.1:{depot.port}/v2"
    assert "state: failure" in told["failure"]
    assert any(f'reason: "{reason}"' in told["failure"] for reason in ("forbidden", "not-found"))
    for model in (told["model"], told["listed"]):
        assert (model["name"], model["state"], model["model-size"]) == (NAME, "ready", 9)
    assert (told["deployment"]["state"], told["deployment"]["name"]) == ("ready", "talk")
    assert (told["deployment"]["replicas"], told["deployment"]["inference-engine-parameters"]) == (2, ["--a=1"])
    assert told["deployment"]["model"] == {"id": told["model"]["id"], "name": NAME}
    assert told["deployments"] == 1
    assert told["nothing"] == [0, 0, 0, 0]
    assert told["quota"] == {}
    assert told["key"] == [True, "an app", True, 2]
    # Each is the SDK's own kind of error, with our sentence in it.
    for error, sentence in (
        ("no-key", "This depot has no key of deployment 'talk'"),
        ("taken", "has the name 'talk' already"),
        ("in-use", "1 deployment uses this model"),
        ("gone", "There is no model"),
        ("wrong", "These credentials are not accepted"),
    ):
        of_its_kind, text = told[error]
        assert of_its_kind, text
        assert sentence in text
