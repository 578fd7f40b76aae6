"""The `modeldepot` command as a whole: its help, and what asking for it costs."""

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from app.cli.main import main
from app.client.exits import CODES, Failed
from app.domain.errors import Reason
from app.domain.states import OperationState
from tests.depot import SECRET_KEY

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
    assert CliRunner().invoke(main, ["version"]).output == CliRunner().invoke(main, ["--version"]).output
    assert told == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    elsewhere = [path for path in (ROOT / "Dockerfile", *ROOT.glob("app/**/*.py")) if f'{told}"' in path.read_text()]
    assert elsewhere == []


def test_help_imports_nothing_that_takes_time() -> None:
    asks = "import sys; from app.cli.main import main; main(['--help'], standalone_mode=False); print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True).stdout
    assert "Usage: " in said
    assert not _HEAVY & set(said.split())


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("pul",), "pull"),
        (("lits",), "list"),
        (("SHOW",), "show"),
        (("deployments", "ad"), "add"),
        (("storage", "verfy"), "verify"),
        (("help", "deployment"), "deployments"),
        (("quux",), None),
    ],
)
def test_an_unknown_command_is_refused_and_the_one_that_is_close_is_suggested(
    words: tuple[str, ...], meant: str | None
) -> None:
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    suggestion = f"; did you mean {meant!r}?" if meant else "."
    assert f"Error: No such command {words[-1]!r}{suggestion}\n" in result.output


@pytest.mark.parametrize(
    ("synonym", "command"),
    [
        ("list", "ls"),
        ("delete", "rm"),
        ("remove", "rm"),
        ("download", "pull"),
        ("deployments ls", "deployments list"),
        ("deployments delete", "deployments rm"),
        ("contexts rm", "contexts remove"),
        ("prioritize", "prioritise"),
        ("key ls", "key list"),
    ],
)
def test_a_synonym_is_the_command(synonym: str, command: str) -> None:
    helps = [CliRunner().invoke(main, [*words.split(), "--help"]).output for words in (synonym, command)]
    assert helps[0] == helps[1]
    assert f"Usage: main {command} " in helps[0]
    assert CliRunner().invoke(main, ["help", *synonym.split()]).output == helps[1]


def test_help_tells_a_topic_and_a_command() -> None:
    assert CliRunner().invoke(main, ["help", "exit-codes"]).output == f"{CODES}\n"
    assert CliRunner().invoke(main, ["help"]).output == CliRunner().invoke(main, ["--help"]).output
    assert CliRunner().invoke(main, ["help", "ls", "more"]).exit_code == 2


def test_the_help_of_each_command_has_examples_that_it_takes_and_says_where_the_exit_codes_are() -> None:
    with main.make_context("modeldepot", ["ls"]) as root:
        commands = list(_commands(main, root))
    assert len(commands) > 35
    for command, context in commands:
        told = command.get_help(context)
        examples = told.partition("  Examples:\n")[2].partition("\n\n")[0]
        assert re.search(r"(?m)^ +modeldepot ", examples), context.command_path
        assert told.endswith("Exit codes: modeldepot help exit-codes"), context.command_path
        assert not re.search(r"(?m)[a-z]\.\.\.$", told), f"{context.command_path}: a first sentence is cut"
        assert " RANGE" not in told, context.command_path
        # A line may have several, as in `modeldepot ls -q | xargs -r modeldepot rm`, which does nothing of nothing.
        assert "xargs modeldepot" not in examples
        for words in re.findall(r"modeldepot\b([^|()<\n]*)", examples):
            _parse(shlex.split(words.rstrip('"')), piped="xargs" in examples)


def _commands(group: click.Group, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context)
        yield command, inner
        if isinstance(command, click.Group):
            yield from _commands(command, inner)


def _parse(words: list[str], *, piped: bool) -> None:
    """Raise what a wrong command line raises; the command itself is not run."""
    command: click.Command = main
    context = click.Context(main)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command, context = found, click.Context(found, info_name=name, parent=context)
    try:
        command.make_context(command.name, words, parent=context)
    except click.MissingParameter:
        assert piped
    except click.exceptions.NoArgsIsHelpError:
        assert isinstance(command, click.Group)


@pytest.mark.parametrize("address", ["http://127.0.0.1:8765", "http://localhost:8765/", "https://depot.example.org"])
@pytest.mark.parametrize("command", ["up", "serve"])
def test_a_depot_that_would_be_its_own_hub_does_not_start(tmp_path: Path, command: str, address: str) -> None:
    """`modeldepot endpoint` tells clients to set HF_ENDPOINT to it."""
    needed = {"DATABASE_URL": "sqlite:////none/none.sqlite3", "REDIS_URL": "redis://none", "SECRET_KEY": SECRET_KEY}
    needed |= {
        "STORAGE": str(tmp_path),
        "DATA": str(tmp_path),
        "PUBLIC_URL": "https://depot.example.org",
        "PORT": "8765",
    }
    settings = {f"DEPOT_{name}": value for name, value in needed.items()}
    refused = CliRunner(env=settings | {"HF_ENDPOINT": address}).invoke(main, [command])
    assert (refused.exit_code, "is this depot's own address" in refused.stderr) == (2, True), refused.stderr


def test_each_reason_has_the_exit_code_that_is_documented() -> None:
    codes = {reason: Failed(reason, "").exit_code for reason in Reason}
    assert len(set(codes.values())) == len(Reason)
    assert codes.pop(Reason.NOT_FOUND) == 10
    assert "10   the operation failed, because of not-found" in CODES
    for reason, code in codes.items():
        assert f"{code} {reason}" in CODES
    assert Failed(Reason.INTERRUPTED, "", state=OperationState.TIMEOUT).exit_code == 21
    assert Failed(None, None).exit_code == Failed("of-a-later-depot", "").exit_code == codes[Reason.UNKNOWN]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("help exi", ["exit-codes"]),
        ("help depl", ["deployments"]),
        ("help deployments ad", ["add"]),
        ("contexts use lo", ["local"]),
        ("contexts remove lo", []),
    ],
)
def test_what_is_known_is_completed(words: str, found: list[str], tmp_path: Path) -> None:
    asks = {
        "COMP_WORDS": f"modeldepot {words}",
        "COMP_CWORD": str(len(words.split())),
        "XDG_CONFIG_HOME": str(tmp_path),
    }
    told = CliRunner(env=asks | {"_MODELDEPOT_COMPLETE": "bash_complete"}).invoke(main, prog_name="modeldepot").stdout
    assert [line.partition(",")[2] for line in told.split()] == found


@pytest.mark.parametrize("words", ["ls", "operations", "deployments list"])
def test_ids_alone_and_json_are_not_both_given(words: str) -> None:
    for flags in (("-q", "--json"), ("--json", "-q")):
        refused = CliRunner().invoke(main, [*words.split(), *flags])
        assert (refused.exit_code, "either --quiet or --json" in refused.stderr) == (2, True)


@pytest.mark.parametrize("address", ["notaurl", "javascript:alert(1)", "https://", "http://[::1", "ftp://example.org"])
def test_a_deployments_address_is_one_of_the_web(address: str) -> None:
    refused = CliRunner().invoke(main, ["deployments", "add", "chat", "acme/chat", "--deployment-url", address])
    assert (refused.exit_code, "it must look like https://" in refused.stderr) == (2, True)


def test_the_help_of_settings_says_what_each_takes() -> None:
    told = " ".join(CliRunner().invoke(main, ["up", "--help"]).stdout.split())
    assert "--stall-rate BYTES " in told
    assert "--hub-search on|off " in told
    assert "DEPOT_HUB_SEARCH; default: on]" in told
    assert "--anonymous-pull Whether clients of the Hub's protocol may read models without a key. It opens" in told
