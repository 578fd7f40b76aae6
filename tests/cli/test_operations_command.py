"""`modeldepot operations`, on rows in every state that an operation can be in."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from app.db.clock import now
from app.db.session import Database
from app.db.tables import OperationRow
from app.domain.errors import Reason
from app.sealing import new_key
from app.services import leases
from tests import by_hand
from tests.api import contract
from tests.terminal import Terminal, modeldepot

Ask = Callable[..., str]
_TOKEN = "sealed:planted"
_OF_THE_API = {"id", "state", "reason", "message", "reference"}


@pytest.fixture
def environment(database_url: str) -> dict[str, str]:
    return {
        "DEPOT_DATABASE_URL": database_url,
        "DEPOT_REDIS_URL": "redis://127.0.0.1:1/0",
        "DEPOT_STORAGE": "/nowhere",
        "DEPOT_SECRET_KEY": new_key(),
    }


@pytest.fixture
def ask(environment: dict[str, str]) -> Ask:
    """What the command prints."""

    def run(*words: str) -> str:
        result = modeldepot(environment, "operations", *words)
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


async def _fill(database: Database) -> dict[str, UUID]:
    """Its operations: one that ended, one that failed, one held, one whose holder is gone, one put off, one due."""
    found = {}
    for name in ("done", "failed", "held", "lapsed", "put-off", "due"):
        found[name] = (await by_hand.create(database, f"acme/{name}", sealed_token=_TOKEN)).id
        match name:
            case "done":
                await by_hand.carry_out(database)
            case "failed":
                await by_hand.fail(database, Reason.FORBIDDEN)
            case "held" | "lapsed":
                await by_hand.claim(database, f"the-{name}-worker", lease=300)
            case "put-off":
                claimed = await by_hand.claim(database)
                assert claimed is not None
                async with database.begin() as connection:
                    await leases.release(connection, claimed.lease, after=200, message="The Hub is busy.")
    async with database.begin() as connection:
        late = update(OperationRow).where(OperationRow.id == found["lapsed"]).values(due_at=now(-6000))
        await connection.execute(late)
    return found


def test_what_is_pending_is_told_with_who_holds_it_and_when_it_is_due(database_url: str, ask: Ask) -> None:
    ids = by_hand.run(database_url, _fill)
    titles, *lines = ask().splitlines()
    assert titles.split() == ["ID", "COMMAND", "ABOUT", "STATE", "SINCE", "HELD", "BY", "RETRIES", "DUE", "MESSAGE"]
    pending = ("held", "lapsed", "put-off", "due")
    assert [line.split()[:4] for line in lines] == [
        [str(ids[name]), "create-model", f"acme/{name}", "pending"] for name in pending
    ]
    held, lapsed, put_off, due = lines
    assert "the-held-worker" in held
    assert " s left" in held
    assert "the-lapsed-worker" in lapsed
    assert "lapsed 6" in lapsed
    assert put_off.endswith("The Hub is busy.")
    assert "in 1" in put_off or "in 200 s" in put_off
    assert "since " in due
    assert [line.split()[5] for line in (put_off, due)] == ["-", "-"]
    (failed,) = ask("--state", "failure").splitlines()[1:]
    assert failed.split()[3:5] == ["failure", "forbidden"]
    assert failed.endswith("The Hub has no such repository.")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_terminal_shows_ages_in_lines_that_fit_and_says_when_there_is_nothing(
    database_url: str, environment: dict[str, str], tmp_path: Path
) -> None:
    by_hand.run(database_url, _fill)

    def shows(*words: str, columns: int = 110) -> list[str]:
        with Terminal(tmp_path, environment, "operations", *words, columns=columns, whole=True) as terminal:
            assert terminal.ends() == 0, terminal.shown
            return terminal.lines

    titles, *lines = shows()
    assert titles.split()[:4] == ["COMMAND", "ABOUT", "STATE", "SINCE"]
    assert len(lines) == 4
    assert max(map(len, (titles, *lines))) <= 110
    assert re.search(r"pending +(now|\d+[sm] ago) ", lines[0])
    titles, *lines = shows(columns=60)
    assert titles.split() == ["COMMAND", "ABOUT", "STATE", "DUE", "MESSAGE"]
    assert max(map(len, (titles, *lines))) <= 60
    assert shows("--state", "timeout") == ["Nothing is in the state 'timeout'; --all shows the others."]


def test_what_is_about_some_models_is_found_by_patterns_and_printed_by_its_id(
    database_url: str, environment: dict[str, str]
) -> None:
    ids = by_hand.run(database_url, _fill)

    def found(*words: str) -> list[str]:
        """Which of them, by the ids that are printed."""
        result = modeldepot(environment, "operations", "-q", *words)
        assert result.returncode == 0, result.stderr
        named = {str(operation): name for name, operation in ids.items()}
        return [named[line] for line in result.stdout.splitlines()]

    assert found("ACME/*") == found() == ["held", "lapsed", "put-off", "due"]
    assert found("due", "*/l?psed") == ["lapsed", "due"]
    assert found("done", "e/h", "--all") == ["done", "held"]
    assert found("acme", "--all", "--limit", "2") == ["put-off", "due"]
    assert found("done", "--all", "--limit", "1") == ["done"]  # others are newer
    nothing = modeldepot(environment, "operations", "done")
    assert (nothing.stdout, nothing.returncode) == ("", 0)
    assert "No operation is like that in the state 'pending'; --all " in nothing.stderr


def test_json_holds_the_operations_of_the_api_and_more(database_url: str, ask: Ask) -> None:
    ids = by_hand.run(database_url, _fill)
    output = ask("--all", "--json", "--limit", "5")
    assert _TOKEN not in output
    del ids["done"]  # the oldest of six
    found: dict[str, dict[str, Any]] = {one["id"]: one for one in json.loads(output)["operations"]}
    assert list(found) == [str(one) for one in ids.values()]
    for one in found.values():
        contract.check(contract.OPERATION, {key: value for key, value in one.items() if key in _OF_THE_API})
    held, put_off, failed = (found[str(ids[name])] for name in ("held", "put-off", "failed"))
    assert (held["held-by"], held["attempts"], held["retries"], held["due-in"]) == ("the-held-worker", 1, 0, None)
    assert 200 < held["lease-left"] <= 300
    assert 100 < put_off["due-in"] <= 200
    assert (put_off["held-by"], put_off["held-since"]) == (None, None)
    assert failed["ended-at"] >= failed["created-at"]
    assert found[str(ids["lapsed"])]["lease-left"] < 0
