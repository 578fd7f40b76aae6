"""The key that is there from the start: it may stand in files, as every secret may, be changed, and be revoked."""

import json
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tests.conftest import StartDepot
from tests.depot import SECRET_KEY, Depot
from tests.fakehub.hub import Hub
from tests.processes import BUSY, said, until

KEY, FIRST, SECOND = "EXOfromthestart", "the-first-secret-of-it", "the-second-secret-of-it"
_IN_FILES = ("database_url", "redis_url", "secret_key", "bootstrap_key", "bootstrap_secret")


@pytest.fixture
def files(database_url: str, redis_url: str, tmp_path: Path) -> dict[str, Path]:
    """A file for each secret, as Docker or systemd gives them; with a line's end, as editors do."""
    contents = dict(zip(_IN_FILES, (database_url, redis_url, SECRET_KEY, KEY, FIRST), strict=True))
    paths = {name: tmp_path / name for name in contents}
    for name, content in contents.items():
        paths[name].write_text(f"{content}\n")
    return paths


@pytest.fixture
def depot(start_depot: StartDepot, files: dict[str, Path]) -> Depot:
    """An API and a worker that are told no secret but where it stands."""
    return start_depot(**dict.fromkeys(files, ""), **{f"{name}_file": path for name, path in files.items()})


def status(depot: Depot, secret: str) -> int:
    headers = {"Authorization": f"Bearer {KEY}:{secret}"}
    return httpx2.get(f"http://127.0.0.1:{depot.port}/v2/ai/model", headers=headers).status_code


def restart(depot: Depot) -> None:
    assert depot.api is not None
    depot.api.terminate()
    depot.api.wait(10 + BUSY)
    depot.start_api()


def test_every_secret_may_stand_in_a_file(depot: Depot, hub: Hub, database_url: str, redis_url: str) -> None:
    hub.add("acme/small", {"config.json": b"{}"})
    depot.client.headers["Authorization"] = f"Bearer {KEY}:{FIRST}"
    assert depot.wait(depot.create("acme/small")["id"])["state"] == "success"
    assert depot.api is not None
    for process in (depot.api, *depot.workers):
        environment = said(process.pid, "environ")
        assert not [secret for secret in (database_url, redis_url, SECRET_KEY, KEY, FIRST) if secret in environment]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_changed_secret_opens_after_the_next_start_and_the_old_one_no_more(
    depot: Depot, files: dict[str, Path]
) -> None:
    assert (status(depot, FIRST), status(depot, SECOND)) == (200, 403)
    files["bootstrap_secret"].write_text(SECOND)
    restart(depot)
    assert (status(depot, FIRST), status(depot, SECOND)) == (403, 200)
    restart(depot)
    command = [sys.executable, "-m", "app.cli", "audit", "--json"]
    told = subprocess.run(command, env=depot.environment, capture_output=True, check=True).stdout
    entries = [(one["action"], one["other-key-id"], one["resource-name"]) for one in json.loads(told)["audit"]]
    assert entries == [("create-key", KEY, "bootstrap"), ("replace-key-secret", KEY, "bootstrap")]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_once_revoked_it_stays_so_whatever_its_secret(depot: Depot, files: dict[str, Path]) -> None:
    assert status(depot, FIRST) == 200
    command = [sys.executable, "-m", "app.cli", "key", "revoke", KEY]
    assert subprocess.run(command, env=depot.environment, capture_output=True, check=False).returncode == 0
    until(lambda: status(depot, FIRST) == 403, depot.logs, 5 + BUSY)
    files["bootstrap_secret"].write_text(SECOND)
    restart(depot)
    assert "this API key is revoked, and stays so" in depot.logs()
    assert (status(depot, FIRST), status(depot, SECOND)) == (403, 403)
