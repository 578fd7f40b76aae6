"""`modeldepot storage …`, on a depot that is at work."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartDepot
from tests.depot import KEY, SECRET, Depot
from tests.fakehub.hub import Hub

_WEIGHTS = os.urandom(3 << 20)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_file_that_rotted_is_found_and_only_it_is_fetched_again(start_depot: StartDepot, hub: Hub) -> None:
    repo = hub.add("acme/rotten", {"config.json": b"{}", "a.safetensors": _WEIGHTS, "b.safetensors": os.urandom(9)})
    depot = start_depot()
    model = ready(depot, "acme/rotten")
    typo = storage_command(depot, "verify", "acme/roten")
    assert (typo.returncode, "did you mean 'acme/rotten'?" in typo.stderr) == (5, True)
    whole = storage_command(depot, "verify", "ACME/rotten")
    assert (whole.returncode, whole.stdout.split()[0]) == (0, "ok")
    published = depot.storage / "models" / model["id"]
    rot(published / "a.safetensors")
    (published / "config.json").unlink()
    repo.commit({"config.json": b'{"a later": "commit"}'})
    found = storage_command(depot, "verify", "acme/rotten")
    assert found.returncode == 1
    assert "a.safetensors differs from its checksum" in found.stdout
    assert "config.json is missing" in found.stdout
    assert "b.safetensors" not in found.stdout
    hub.forget()
    repaired = storage_command(depot, "verify", "--repair", model["id"])
    assert repaired.returncode == 1
    assert f"modeldepot wait {repaired.stdout.split()[-1]}\n" in repaired.stdout
    assert depot.wait(repaired.stdout.split()[-1])["state"] == "success"
    assert (published / "a.safetensors").read_bytes() == _WEIGHTS
    assert (published / "config.json").read_bytes() == b"{}"
    assert hub.bytes_sent() == len(_WEIGHTS) + len(b"{}")
    assert storage_command(depot, "verify").returncode == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_usage_tells_own_bytes_from_shared_ones(start_depot: StartDepot, hub: Hub) -> None:
    hub.add("acme/one", {"w.safetensors": _WEIGHTS, "config.json": b"1"})
    hub.add("acme/two", {"w.safetensors": _WEIGHTS, "config.json": b"22"})
    depot = start_depot()
    ids = [ready(depot, name)["id"] for name in ("acme/one", "acme/two")]
    lines = {line.split()[0]: line.split()[1:] for line in storage_command(depot, "usage").stdout.splitlines() if line}
    shared = str(len(_WEIGHTS))
    assert lines[ids[0]] == ["1", shared, "0", "ready", "acme/one"]
    assert lines[ids[1]] == ["2", shared, "0", "ready", "acme/two"]
    assert str(len(_WEIGHTS) + 3) in lines


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_verify_says_so_when_there_is_no_such_model(start_depot: StartDepot) -> None:
    depot = start_depot(workers=0, api=False)
    answer = storage_command(depot, "verify", "--", "--repair")
    assert answer.returncode == 5
    assert answer.stderr.startswith("Error: there is no model '--repair': ")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_names_of_files_do_not_steer_the_terminal_and_json_has_them_as_they_are(
    start_depot: StartDepot, hub: Hub
) -> None:
    name = "\x1b]0;title\x07\nWRONG forged\x9b31m.bin"
    hub.add("acme/nasty", {name: _WEIGHTS})
    depot = start_depot()
    model = ready(depot, "acme/nasty")
    rot(depot.storage / "models" / model["id"] / name)
    listed = run(depot, "show", "--files", "acme/nasty")
    found = storage_command(depot, "verify")
    assert (listed.returncode, found.returncode) == (0, 1)
    for text in (listed.stdout, found.stdout):
        assert all(line.isprintable() for line in text.splitlines()), text
        assert "\\x1b]0;title\\x07\\nWRONG forged\\x9b31m.bin" in text
    assert found.stdout.count("\n") == 1
    (files,) = json.loads(run(depot, "show", "--files", "--json", "acme/nasty").stdout)["files"]
    assert files["path"] == name
    (verdict,) = json.loads(storage_command(depot, "verify", "--json", "--repair").stdout)["models"]
    assert (verdict["id"], verdict["result"]) == (model["id"], "wrong")
    assert verdict["problems"] == [f"{name} differs from its checksum"]
    assert depot.wait(verdict["repair-operation"])["state"] == "success"
    (audited,) = [one for one in json.loads(run(depot, "audit", "--json").stdout)["audit"] if one["resource-id"]][1:]
    assert (audited["action"], audited["resource-name"]) == ("repair-model", "acme/nasty")
    assert audited["key-id"].startswith("cli:")
    (used,) = json.loads(storage_command(depot, "usage", "--json").stdout)["models"]
    assert (used["id"], used["name"], used["own"]) == (model["id"], "acme/nasty", len(_WEIGHTS))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_dry_run_of_what_does_not_fit_ends_as_the_pull_would(start_depot: StartDepot, hub: Hub) -> None:
    hub.add("acme/large", {"model.safetensors": bytes(100)})
    depot = start_depot(quota=10)
    planned = run(depot, "pull", "acme/large", "--dry-run")
    assert "must be freed first" in planned.stdout
    assert planned.returncode == run(depot, "pull", "acme/large").returncode == 19, planned.stderr


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_command_ends_quietly_when_its_reader_leaves(start_depot: StartDepot, tmp_path: Path) -> None:
    depot = start_depot(workers=0, api=False)
    storage = ("accept",), ("usage",), ("usage", "--json"), ("adopt", "--all"), ("verify", "--json")
    for words in (*(("storage", *words) for words in storage), ("storage", "copy", f"--to=file://{tmp_path / 'copy'}")):
        assert _unread(depot, *words) == (141, ""), words
    for words in (("operations", "--json"), ("key", "list"), ("version",), ("help", "exit-codes")):
        assert _unread(depot, *words) == (141, ""), words


def _unread(depot: Depot, *words: str) -> tuple[int, str]:
    """The exit code, and what it said, of a command of which nobody reads what it prints."""
    reads, writes = os.pipe()
    os.close(reads)
    with os.fdopen(writes, "wb") as output:
        command = [sys.executable, "-m", "app.cli", *words]
        ended = subprocess.run(
            command, env=depot.environment, stdout=output, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    return ended.returncode, ended.stderr


def ready(depot: Depot, name: str, **keys: Any) -> dict[str, Any]:
    operation = depot.create(name, **keys)
    assert depot.wait(operation["id"])["state"] == "success"
    return depot.model(operation["reference"]["id"])


def rot(path: Path) -> None:
    """One bit of it, as a disk does."""
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def storage_command(depot: Depot, *words: str) -> subprocess.CompletedProcess[str]:
    return run(depot, "storage", *words)


def run(depot: Depot, *words: str) -> subprocess.CompletedProcess[str]:
    client = {"DEPOT_URL": f"http://127.0.0.1:{depot.port}", "DEPOT_KEY": KEY, "DEPOT_SECRET": SECRET}
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *words],
        env=depot.environment | client,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
