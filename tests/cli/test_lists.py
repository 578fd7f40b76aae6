"""Lists on a terminal and for scripts: their width, ages, filters; several names, and the question before a delete."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.cli.shell import Shell
from tests.processes import until
from tests.terminal import Terminal

Shows = Callable[..., Sequence[str]]
_LONG = f"acme/{'a-very-long-name-' * 5}end"


@pytest.fixture(scope="module")
def filled(shell: Shell) -> Shell:
    """A depot with a model of a long name, one that a deployment uses, and one in error."""
    shell.hub.add(_LONG, {"config.json": b"{}"})
    shell.hub.add("other/Small-GGUF", {"config.json": b"{}", "weights.bin": bytes(2_150_000)})
    shell.printed("pull", _LONG, "other/Small-GGUF")
    assert shell.quick("pull", "acme/nowhere").exit_code == 10
    shell.printed("deployments", "add", "chat", _LONG, "--deployment-url", f"https://{'chat.' * 30}example.org")
    shell.printed("deployments", "add", "other", "Small-GGUF")
    return shell


@pytest.fixture
def shows(filled: Shell, tmp_path: Path) -> Shows:
    """What a command shows on a terminal, line by line."""

    def run(*words: str, columns: int = 80) -> Sequence[str]:
        with Terminal(tmp_path, filled.environment, *words, columns=columns, whole=True) as terminal:
            assert terminal.ends() == 0, terminal.shown
            return terminal.lines

    return run


@pytest.mark.parametrize(
    ("words", "columns"),
    [(("ls",), 50), (("ls",), 80), (("deployments", "list"), 60), (("show", "Small-GGUF", "--files"), 70)],
)
def test_a_list_fits_the_terminal(shows: Shows, words: Sequence[str], columns: int) -> None:
    lines = shows(*words, columns=columns)
    assert len(lines) > 1
    assert max(map(len, lines)) <= columns
    assert any("…" in line for line in lines) or "--files" in words


def test_a_wide_list_is_whole_and_so_is_one_for_scripts(filled: Shell, shows: Shows) -> None:
    (line,) = [line for line in shows("ls", "--wide") if _LONG in line]
    assert filled.id_of(_LONG) in line
    assert "…" not in line
    titles, *piped = filled.printed("ls").splitlines()
    assert titles.split() == ["NAME", "STATUS", "SIZE", "LAST", "PULLED", "ID"]
    assert any(line.split() == [_LONG, "ready", "2B", "-", filled.id_of(_LONG)] for line in piped)


def test_a_terminal_shows_ages_and_sizes_and_a_script_gets_times_and_bytes(filled: Shell, shows: Shows) -> None:
    lines = shows("ls", columns=120)
    assert lines[0].split()[:4] == ["NAME", "STATUS", "SIZE", "CREATED"]
    (line,) = [line for line in lines if "Small" in line]
    assert line.split()[1:3] == ["ready", "2.15MB"]
    assert line.split()[4] in {"ago", "-"}  # "now" is one word
    created = filled.depot.model(filled.id_of(_LONG))["created-at"]
    assert any(line.startswith(f"created    {created} (") for line in shows("show", _LONG))
    assert f"created    {created}\n" in filled.printed("show", _LONG)
    assert "2150000  weights.bin" in filled.printed("show", "Small-GGUF", "--files")
    assert any("2.15MB" in line for line in shows("show", "Small-GGUF", "--files"))


def test_a_list_is_filtered_by_status_and_patterns(filled: Shell) -> None:
    def names(*words: str) -> list[str]:
        return [model["name"] for model in json.loads(filled.printed("ls", *words, "--json"))["models"]]

    assert names("--status", "error") == ["acme/nowhere"]
    assert names("ACME/*") == [_LONG, "acme/nowhere"]
    assert names("gguf", "*/nowhere") == ["other/Small-GGUF", "acme/nowhere"]
    assert names("acme/*", "--status", "ready") == [_LONG]
    ids = filled.printed("ls", "-q", "small", "long").split()
    assert ids == [filled.id_of(_LONG), filled.id_of("other/Small-GGUF")]
    assert filled.quick("ls", "no-such").stderr == "No model is like that. `modeldepot ls` lists all.\n"
    assert filled.quick("ls", "--status", "redy").exit_code == 2
    listed = json.loads(filled.printed("deployments", "list", "cha*", "--json"))["deployments"]
    assert [one["name"] for one in listed] == ["chat"]
    assert filled.printed("deployments", "ls", "-q", "chat").strip() == listed[0]["id"]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("show", "small-ggfu"), "Small-GGUF"),
        (("show", "other/Smal-GGUF"), "other/Small-GGUF"),
        (("deployments", "rm", "caht"), "chat"),
    ],
)
def test_a_name_that_is_close_is_suggested(filled: Shell, words: Sequence[str], meant: str) -> None:
    refused = filled.quick(*words)
    assert (refused.exit_code, f"did you mean '{meant}'?" in refused.stderr) == (5, True), refused.stderr


def test_several_are_removed_and_one_that_is_in_use_is_told(filled: Shell) -> None:
    names = [filled.repository(), filled.repository()]
    filled.printed("pull", *names)
    removed = filled.quick("delete", names[0], _LONG, "acme/never-was", names[1])
    assert removed.exit_code == 5  # found out first
    assert f"Error: {_LONG}: {_LONG} is in use by:\n  chat  " in removed.stderr
    assert "Error: acme/never-was: there is no model 'acme/never-was'" in removed.stderr
    assert all(f"{name} is gone\n" in removed.stderr for name in names)
    left = filled.printed("ls")
    assert _LONG in left
    assert not any(name in left for name in names)
    again = [filled.repository(), filled.repository()]
    filled.printed("pull", *again)
    operations = json.loads(filled.printed("rm", *again, "--json"))["operations"]
    assert [one["state"] for one in operations] == ["success", "success"]


def test_several_deployments_are_removed_each_by_itself(filled: Shell) -> None:
    for name in ("one", "two", "three", "four"):
        filled.printed("deployments", "add", name, "Small-GGUF")
    removed = filled.quick("deployments", "delete", "one", "never-was", "two")
    assert removed.exit_code == 5
    assert removed.stderr.startswith("Error: never-was: there is no deployment 'never-was'")
    assert [line.split()[0] for line in removed.stderr.splitlines() if "is deleted" in line] == ["one", "two"]
    left = filled.printed("deployments", "ls", "-q", "three").split()
    operations = json.loads(filled.printed("deployments", "rm", *left, "four", "--json"))["operations"]
    assert [one["state"] for one in operations] == ["success", "success"]
    assert [line.split()[0] for line in filled.printed("deployments").splitlines()] == ["NAME", "chat", "other"]


def test_a_terminal_asks_before_deployments_are_removed(filled: Shell, tmp_path: Path) -> None:
    names = ("asked-1", "asked-2")
    for name in names:
        filled.printed("deployments", "add", name, "Small-GGUF")
    for key, code, left in ((b"\n", 1, True), (b"y\n", 0, False)):
        with Terminal(tmp_path, filled.environment, "deployments", "rm", *names, columns=200, whole=True) as terminal:
            until(lambda: "Delete these 2 deployments? [y/N]" in terminal.shown, lambda: terminal.shown)  # called here
            assert "asked-1, which uses other/Small-GGUF" in terminal.shown
            terminal.press(key)
            assert terminal.ends() == code, terminal.shown
        assert ("asked-1" in filled.printed("deployments")) is left


def test_a_terminal_asks_before_a_model_is_removed(filled: Shell, tmp_path: Path) -> None:
    name = filled.repository()
    filled.printed("pull", name)
    for key, code, left in ((b"\n", 1, True), (b"\x03", 130, True), (b"y\n", 0, False)):
        with Terminal(tmp_path, filled.environment, "rm", name, whole=True) as terminal:
            until(lambda: "Delete it? [y/N]" in terminal.shown, lambda: terminal.shown)  # it is called here
            assert f"{name} (102B)" in terminal.shown
            terminal.press(key)
            assert terminal.ends() == code, terminal.shown
        assert (name in filled.printed("ls")) is left
    filled.printed("pull", name)
    with Terminal(tmp_path, filled.environment, "rm", name, "--yes", whole=True) as terminal:
        assert terminal.ends() == 0, terminal.shown
        assert "?" not in terminal.shown
    assert name not in filled.printed("ls")
