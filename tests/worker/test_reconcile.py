"""`modeldepot storage check`, `adopt`, `prune`, `restore` and `accept`, after a database came back without some models."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from sqlalchemy import delete

from app.db.session import Database
from app.db.tables import ModelRow
from tests import by_hand
from tests.cli.test_storage_commands import ready, run
from tests.conftest import StartDepot
from tests.depot import Depot
from tests.fakehub.hub import Hub
from worker.maintenance.inventory import main

WEIGHTS = os.urandom(1 << 20)
Command = Callable[..., subprocess.CompletedProcess[str]]
BOTH = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`modeldepot storage` with some words, in this process, with nobody there to answer: a process of its own is slow."""

    def carry_out(depot: Depot, *words: str) -> subprocess.CompletedProcess[str]:
        for name, value in depot.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["modeldepot storage", *words])
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        told, code = capsys.readouterr(), ended.value.code
        return subprocess.CompletedProcess(
            words, 1 if isinstance(code, str) else code or 0, told.out, told.err + str(code)
        )

    return carry_out


@BOTH
def test_a_lost_database_is_made_anew_from_the_storage(start_depot: StartDepot, hub: Hub, command: Command) -> None:
    depot = start_depot()
    hub.add("acme/tiny", {"config.json": b"{}", "folder/w.safetensors": WEIGHTS})
    hub.add("acme/other", {"a.json": b"{}", "b.bin": WEIGHTS})
    before = [ready(depot, "acme/tiny"), ready(depot, "acme/other", include=["*.json"])]
    hub.repos["models", "acme/tiny"].commit({"config.json": b"[]"})
    assert depot.client.get(f"/ai/model/{before[0]['id']}/latest").json()["moved"]
    update = depot.client.post(f"/ai/model/{before[0]['id']}/refresh").json()
    depot.wait(update["id"])
    before.append(depot.model(update["reference"]["id"]))
    _forget_all(depot)
    assert depot.client.get("/ai/model").json() == {"models": []}
    found = command(depot, "check")
    assert (found.returncode, found.stdout.count("UNKNOWN")) == (1, 3), found
    hub.forget()
    adopted = command(depot, "adopt", "--all")
    assert (adopted.returncode, adopted.stdout.count("adopted")) == (0, 3), adopted.stdout + adopted.stderr
    assert hub.bytes_sent() == 0
    after = {model["id"]: model for model in depot.client.get("/ai/model").json()["models"]}
    lasting = ("name", "revision", "follows", "include", "exclude", "commit", "status", "path", "model-size", "files")
    for model in before:
        assert {key: after[model["id"]][key] for key in lasting} == {key: model[key] for key in lasting}
    assert command(depot, "check").returncode == 0
    assert command(depot, "adopt", "--all").stdout == "nothing to do\n"
    assert {"adopt-model"} == {one["action"] for one in _audit(depot) if one["resource-id"]} - {
        "create-model",
        "refresh-model",
    }


@SQLITE
def test_a_folder_that_is_not_as_its_manifest_says_is_not_adopted(
    start_depot: StartDepot, hub: Hub, command: Command
) -> None:
    depot = start_depot()
    hub.add("acme/tiny", {"config.json": b"{}"})
    model = ready(depot, "acme/tiny")
    _forget_all(depot)
    file = depot.storage / "models" / model["id"] / "config.json"
    file.chmod(0o600)
    file.write_bytes(b"[]")
    refused = command(depot, "adopt", model["id"])
    assert refused.returncode == 1
    assert "config.json differs from its checksum" in refused.stdout
    (depot.storage / "depot" / f"{model['id']}.json").unlink()
    assert "there is no manifest of it" in command(depot, "adopt", model["id"]).stdout
    assert depot.client.get("/ai/model").json() == {"models": []}
    assert file.exists()


@SQLITE
def test_a_selection_that_a_newer_model_has_is_not_adopted_twice(
    start_depot: StartDepot, hub: Hub, command: Command
) -> None:
    depot = start_depot()
    hub.add("acme/tiny", {"config.json": b"{}"})
    old = ready(depot, "acme/tiny")
    _forget_all(depot)
    new = ready(depot, "acme/tiny")
    refused = command(depot, "adopt", old["id"])
    assert refused.returncode == 1
    assert f"model {new['id']} has this selection" in refused.stdout
    assert (depot.storage / "by-name" / "acme" / "tiny").resolve().name == new["id"]


@SQLITE
def test_what_is_pruned_can_be_restored_and_what_the_database_has_is_kept(
    start_depot: StartDepot, hub: Hub, command: Command
) -> None:
    depot = start_depot()
    hub.add("acme/tiny", {"config.json": b"{}"})
    hub.add("acme/kept", {"config.json": b"{}"})
    tiny = ready(depot, "acme/tiny")
    _forget_all(depot)
    kept = ready(depot, "acme/kept")
    published = depot.storage / "models" / tiny["id"]

    unasked = command(depot, "prune", tiny["id"])
    assert (unasked.returncode, "--yes" in unasked.stderr, "Traceback" in unasked.stderr) == (1, True, False)
    assert published.exists()
    held = command(depot, "prune", "--yes", kept["id"])
    assert (held.returncode, f"modeldepot rm {kept['id']}" in held.stdout) == (1, True)
    assert command(depot, "prune", "--yes", tiny["id"]).returncode == 0
    assert not published.exists()
    checked = command(depot, "check")
    assert (checked.returncode, f"trash     {tiny['id']}" in checked.stdout) == (0, True)

    assert command(depot, "restore", tiny["id"]).returncode == 0
    model = depot.model(tiny["id"])
    assert (model["status"], model["path"]) == ("ready", tiny["path"])
    assert (depot.storage / "by-name" / "acme" / "tiny" / "config.json").read_bytes() == b"{}"
    assert command(depot, "restore", tiny["id"]).returncode == 1

    _forget_all(depot)
    assert command(depot, "prune", "--all", "--now", "--yes").returncode == 0
    assert [path for path in depot.storage.glob("*/*") if path.name != "mark"] == []


@SQLITE
def test_another_storage_is_used_only_once_it_was_accepted(start_depot: StartDepot, hub: Hub, command: Command) -> None:
    depot = start_depot()
    hub.add("acme/tiny", {"config.json": b"{}"})
    model = ready(depot, "acme/tiny")
    depot.storage.rename(depot.folder / "former")  # at once: the worker is at work in it
    depot.storage.mkdir()
    for words in (["check"], ["adopt", "--all"], ["prune", "--all", "--yes"], ["restore", model["id"]]):
        refused = command(depot, *words)
        assert (refused.returncode, "modeldepot storage accept" in refused.stderr) == (1, True), refused
    assert list(depot.storage.iterdir()) == []
    assert command(depot, "accept").returncode == 0
    lost = command(depot, "check")
    assert (lost.returncode, f"LOST      {model['id']}" in lost.stdout) == (1, True)


def _audit(depot: Depot) -> list[dict[str, str]]:
    audit: list[dict[str, str]] = json.loads(run(depot, "audit", "--json").stdout)["audit"]
    return audit


def _forget_all(depot: Depot) -> None:
    """As a restore leaves it that came from before these models."""

    async def forget(database: Database) -> None:
        async with database.begin() as connection:
            await connection.execute(delete(ModelRow))

    by_hand.run(depot.environment["DEPOT_DATABASE_URL"], forget)
