"""The `modeldepot` command as a whole: its help, and what asking for it costs."""

import subprocess
import sys
import tomllib
from pathlib import Path

from click.testing import CliRunner

from app.cli.main import main
from app.client.exits import CODES, Failed
from app.domain.errors import Reason
from app.domain.states import OperationState

ROOT = Path(__file__).parents[2]
_HEAVY = {"fastapi", "sqlalchemy", "uvicorn", "pydantic", "cryptography", "httpx2"}


def test_each_command_is_listed_and_there() -> None:
    listed = CliRunner().invoke(main, ["--help"]).output
    with main.make_context("modeldepot", ["--help"], resilient_parsing=True) as context:
        for name in main.list_commands(context):
            command = main.get_command(context, name)
            assert command is not None
            assert command.name == name
            assert f"\n  {name} " in listed
            assert command.help


def test_one_version_is_told_by_the_command_and_stands_in_the_packages_description() -> None:
    told = CliRunner().invoke(main, ["--version"]).output.split()[-1]
    assert told == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    elsewhere = [path for path in (ROOT / "Dockerfile", *ROOT.glob("app/**/*.py")) if f'{told}"' in path.read_text()]
    assert elsewhere == []


def test_help_imports_nothing_that_takes_time() -> None:
    asks = "import sys; from app.cli.main import main; main(['--help'], standalone_mode=False); print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True).stdout
    assert "Usage: " in said
    assert not _HEAVY & set(said.split())


def test_an_unknown_command_is_refused() -> None:
    result = CliRunner().invoke(main, ["pul"])
    assert result.exit_code == 2
    assert "pul" in result.output


def test_each_reason_has_the_exit_code_that_is_documented() -> None:
    codes = {reason: Failed(reason, "").exit_code for reason in Reason}
    assert len(set(codes.values())) == len(Reason)
    assert codes.pop(Reason.NOT_FOUND) == 10
    assert "10   the operation failed, because of not-found" in CODES
    for reason, code in codes.items():
        assert f"{code} {reason}" in CODES
    assert Failed(Reason.INTERRUPTED, "", state=OperationState.TIMEOUT).exit_code == 21
    assert Failed(None, None).exit_code == Failed("of-a-later-depot", "").exit_code == codes[Reason.UNKNOWN]
