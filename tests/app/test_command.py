"""The `modeldepot` command as a whole: its help, and what asking for it costs."""

import subprocess
import sys

from click.testing import CliRunner

from app.cli import main

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


def test_help_imports_nothing_that_takes_time() -> None:
    asks = "import sys; from app.cli import main; main(['--help'], standalone_mode=False); print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True).stdout
    assert "Usage: " in said
    assert not _HEAVY & set(said.split())


def test_an_unknown_command_is_refused() -> None:
    result = CliRunner().invoke(main, ["pul"])
    assert result.exit_code == 2
    assert "pul" in result.output
