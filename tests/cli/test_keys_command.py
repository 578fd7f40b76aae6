"""`modeldepot key`, `secrets rotate` and `audit`, as an operator runs them."""

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import CliRunner
from sqlalchemy import insert

from app.cli.main import main
from app.db.clock import now
from app.db.migrate import upgrade
from app.db.session import Database
from app.db.tables import OperationRow
from app.domain.commands import Command
from app.domain.keys import split_token
from app.domain.states import OperationState
from app.sealing import Sealer, new_key
from app.services import audit, keys
from app.standalone.folder import DataFolder
from tests import by_hand

_CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("DEPOT_")}
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> dict[str, str]:
    return {
        "DEPOT_DATABASE_URL": database_url,
        "DEPOT_REDIS_URL": "redis://127.0.0.1:1/0",
        "DEPOT_STORAGE": str(tmp_path),
        "DEPOT_SECRET_KEY": new_key(),
    }


def modeldepot(settings: Mapping[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    """How it ends in this process, which takes a tenth of the time."""
    others = dict.fromkeys(name for name in os.environ if name.startswith("DEPOT_"))
    result = CliRunner(env=others | dict(settings)).invoke(main, words, prog_name="modeldepot")
    return subprocess.CompletedProcess(words, result.exit_code, result.stdout, result.stderr)


def executed(settings: Mapping[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "app.cli", *words]
    return subprocess.run(
        command, env=_CLEAN | dict(settings), capture_output=True, text=True, timeout=120, check=False
    )


def made(settings: Mapping[str, str], *words: str) -> tuple[str, str]:
    """A new key's id and secret, as they are printed."""
    result = modeldepot(settings, "key", "create", *words)
    assert result.returncode == 0, result.stderr
    key_id, secret, token = (line.split()[1] for line in result.stdout.splitlines())
    assert split_token(token) == (key_id, secret)
    return key_id, secret


def test_a_key_is_made_shown_once_listed_and_revoked(settings: dict[str, str]) -> None:
    key_id, secret = made(settings, "--name", "ci", "--role", "reader", "--expires", "90d")
    listed = executed(settings, "key", "list").stdout
    assert key_id.startswith("EXO")
    assert [key_id, "ci", "reader"] == listed.splitlines()[1].split()[:3]
    assert secret not in listed
    assert executed(settings, "key", "revoke", key_id).returncode == 0
    again = executed(settings, "key", "revoke", key_id)
    assert (again.returncode, again.stderr.count("\n")) == (5, 1)
    assert key_id in again.stderr


def test_what_a_new_key_may_do_and_how_long_is_told(settings: dict[str, str]) -> None:
    told = modeldepot(settings, "key", "create").stderr
    assert "an operator's key: it may do everything" in told
    assert "It never expires" in told
    told = modeldepot(settings, "key", "create", "--role", "reader", "--expires", "12h", "--models", "acme/*").stderr
    assert "This is a reader's key: it may only look, limited to acme/*. It expires in 0.5 days.\n" in told
    made = json.loads(modeldepot(settings, "key", "create", "--json").stdout)
    assert split_token(made["token"]) == (made["id"], made["secret"])


def test_a_key_is_revoked_by_its_name_if_that_is_clear(settings: dict[str, str]) -> None:
    ids = [made(settings, "--name", "twice")[0] for _ in range(2)]
    unclear = modeldepot(settings, "key", "revoke", "twice")
    assert unclear.returncode == 2
    assert all(key_id in unclear.stderr for key_id in ids)
    asks = {"COMP_WORDS": "modeldepot key revoke tw", "COMP_CWORD": "3", "_MODELDEPOT_COMPLETE": "bash_complete"}
    assert modeldepot(settings | asks).stdout.split() == ["plain,twice"]
    assert modeldepot(settings, "key", "revoke", ids[0]).returncode == 0
    assert modeldepot(settings, "key", "revoke", "twice").stdout == f"{ids[1]} is revoked\n"
    assert modeldepot(settings, "key", "revoke", "twice").returncode == 5


def test_the_keys_are_told_as_json(settings: dict[str, str]) -> None:
    key_id, secret = made(settings, "--name", "the CI's", "--role", "reader", "--expires", "90d")
    told = modeldepot(settings, "key", "list", "--json").stdout
    assert secret not in told
    (key,) = json.loads(told)["keys"]
    assert (key["id"], key["name"], key["role"]) == (key_id, "the CI's", "reader")
    assert key["expires-at"] > key["created-at"]
    assert (key["last-used-at"], key["revoked-at"]) == (None, None)
    assert (key["models"], key["auto-deployment"]) == ([], False)


def test_a_limited_key_is_told_with_its_models(settings: dict[str, str]) -> None:
    limits = ("--models", "meta-llama/*", "--models", "acme/Chat", "--models", "acme/Chat")
    made(settings, "--name", "vllm", *limits, "--auto-deployment")
    (key,) = json.loads(modeldepot(settings, "key", "list", "--json").stdout)["keys"]
    assert (key["models"], key["auto-deployment"]) == (["meta-llama/*", "acme/Chat"], True)
    assert modeldepot(settings, "key", "list").stdout.splitlines()[1].endswith("meta-llama/* acme/Chat")
    # Its secret is sealed together with the limit.
    rotated = modeldepot(settings, "secrets", "rotate")
    assert (rotated.returncode, rotated.stdout.split()[0]) == (0, "1")


@pytest.mark.parametrize("words", [("--models", "meta-llama"), ("--models", "a/b c"), ("--auto-deployment",)])
def test_a_limit_that_no_model_meets_is_refused(settings: dict[str, str], words: tuple[str, ...]) -> None:
    refused = modeldepot(settings, "key", "create", *words)
    assert refused.returncode == 2
    assert ("--models" if words[0] == "--models" else "--name") in refused.stderr
    assert json.loads(modeldepot(settings, "key", "list", "--json").stdout) == {"keys": []}


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31m", "x" * 201, "\udcff"])
def test_a_name_that_no_list_could_show_is_refused(settings: dict[str, str], name: str) -> None:
    refused = modeldepot(settings, "key", "create", "--name", name)
    assert refused.returncode == 2
    assert "--name" in refused.stderr
    assert json.loads(modeldepot(settings, "key", "list", "--json").stdout) == {"keys": []}


def test_what_is_done_with_a_shell_is_audited_with_who_did_it(settings: dict[str, str]) -> None:
    key_id, _ = made(settings, "--name", "a back door")
    assert modeldepot(settings, "secrets", "rotate").returncode == 0
    assert modeldepot(settings, "key", "revoke", key_id).returncode == 0
    assert modeldepot(settings, "key", "revoke", "EXOnobody").returncode == 5
    found = json.loads(modeldepot(settings, "audit", "--json").stdout)["audit"]
    assert [(one["action"], one["other-key-id"], one["resource-name"], one["outcome"]) for one in found] == [
        ("create-key", key_id, "a back door", "accepted"),
        ("rotate-secrets", None, None, "accepted"),
        ("revoke-key", key_id, "a back door", "accepted"),
    ]
    who = f"cli:{pwd.getpwuid(os.getuid()).pw_name}@{socket.gethostname()}"[:64]
    assert {one["key-id"] for one in found} == {who}
    shown = modeldepot(settings, "audit").stdout.splitlines()
    assert shown[0].split("  ")[0] == "AT"
    assert "a back door" in shown[1]
    assert who in shown[1]


def test_a_key_is_made_for_the_address_at_which_up_answers(migrated_sqlite: Path, tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    folder.prepare()
    shutil.copy(migrated_sqlite, folder.path / "depot.sqlite3")
    of_up = {"DEPOT_DATA": str(folder.path)}
    assert "http://127.0.0.1:8080/v2" in modeldepot(of_up, "key", "create").stderr
    folder.say_where("http://127.0.0.1:18080")
    assert "http://127.0.0.1:18080/v2" in modeldepot(of_up, "key", "create").stderr
    public = of_up | {"DEPOT_PUBLIC_URL": "https://depot.example.org"}
    assert "https://depot.example.org/v2" in modeldepot(public, "key", "create").stderr


def test_a_secret_is_nowhere_in_the_database(settings: dict[str, str], database_url: str, tmp_path: Path) -> None:
    if not database_url.startswith("sqlite"):
        pytest.skip("looks into the file of an SQLite database")
    _, secret = made(settings)
    assert not [path for path in tmp_path.glob("depot.sqlite3*") if secret.encode() in path.read_bytes()]


def test_rotating_seals_keys_and_pending_tokens_with_the_first_secret_key(
    settings: dict[str, str], database_url: str
) -> None:
    key_id, secret = made(settings)
    old, new, operation_id = settings["DEPOT_SECRET_KEY"], new_key(), uuid4()
    token = Sealer([old]).seal("hf_a_token", belongs_to=str(operation_id))

    async def pending(database: Database) -> None:
        async with database.begin() as connection:
            row = {"id": operation_id, "command": Command.CREATE_MODEL, "resource_id": uuid4(), "sealed_token": token}
            counts = dict.fromkeys(("fence", "attempts", "reached"), 0)
            times = dict.fromkeys(("created_at", "deadline_at", "due_at"), now())
            values = row | counts | times | {"state": OperationState.PENDING}
            await connection.execute(insert(OperationRow).values(values))

    async def opened(database: Database) -> tuple[str, str]:
        sealer = Sealer([new])
        async with database.read() as connection:
            key = await keys.usable(connection, key_id)
            sealed = (await connection.execute(OperationRow.__table__.select())).one().sealed_token
        assert key is not None
        return sealer.open(key.sealed_secret, belongs_to=key_id), sealer.open(sealed, belongs_to=str(operation_id))

    by_hand.run(database_url, pending)
    rotated = modeldepot(settings | {"DEPOT_SECRET_KEY": f"{new},{old}"}, "secrets", "rotate")
    assert rotated.returncode == 0, rotated.stderr
    assert by_hand.run(database_url, opened) == (secret, "hf_a_token")


def test_rotating_without_the_old_secret_key_says_what_stays_closed(settings: dict[str, str]) -> None:
    key_id, _ = made(settings)
    rotated = modeldepot(settings | {"DEPOT_SECRET_KEY": new_key()}, "secrets", "rotate")
    assert rotated.returncode == 1
    assert key_id in rotated.stderr


def test_the_audit_is_shown_newest_last_and_by_key(settings: dict[str, str], database_url: str) -> None:
    async def record(database: Database) -> None:
        for key_id, action in (("EXOone", "create-model"), ("EXOtwo", "delete-model")):
            async with database.begin() as connection:
                act = audit.Act(key_id, action, "192.0.2.1", "a-request", uuid4())
                await audit.record(connection, [act], audit.ACCEPTED)

    by_hand.run(database_url, record)
    shown = modeldepot(settings, "audit").stdout.splitlines()
    assert [line.split()[3] for line in shown[1:]] == ["create-model", "delete-model"]
    of_two = modeldepot(settings, "audit", "--key", "EXOtwo").stdout.splitlines()
    assert [line.split()[1] for line in of_two[1:]] == ["EXOtwo"]


def test_what_is_missing_is_told_in_one_line(tmp_path: Path) -> None:
    nowhere = executed({"DEPOT_DATA": str(tmp_path)}, "key", "list")
    assert (nowhere.returncode, nowhere.stderr.count("\n")) == (2, 1)
    empty = {
        "DEPOT_DATABASE_URL": f"sqlite:///{tmp_path / 'empty.sqlite3'}",
        "DEPOT_REDIS_URL": "redis://127.0.0.1:1/0",
        "DEPOT_STORAGE": str(tmp_path),
        "DEPOT_SECRET_KEY": new_key(),
    }
    not_migrated = executed(empty, "key", "list")
    assert (not_migrated.returncode, not_migrated.stderr.count("\n")) == (1, 1), not_migrated.stderr
    assert "modeldepot migrate" in not_migrated.stderr
    upgrade(empty["DEPOT_DATABASE_URL"])
    assert executed(empty, "key", "list").returncode == 0
