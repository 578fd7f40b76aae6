"""`modeldepot pull` of several models at once."""

import json
import re
from pathlib import Path

from tests.api import contract
from tests.cli.shell import Shell
from tests.processes import until
from tests.terminal import Terminal


def test_several_are_pulled_and_their_folders_are_told_in_order(shell: Shell) -> None:
    names = [shell.repository() for _ in range(3)]
    paths = shell.printed("pull", *names).splitlines()
    assert paths == [shell.depot.model(shell.id_of(name))["path"] for name in names]
    assert all((Path(path) / "config.json").is_file() for path in paths)
    pulled = json.loads(shell.printed("pull", *names, "--json"))
    contract.check(contract.MODELS, pulled)
    assert [model["name"] for model in pulled["models"]] == names
    ids = shell.printed("download", *names, "--detach").split()
    assert ids == [shell.id_of(name) for name in names]


def test_one_that_fails_leaves_the_others_alone_and_is_told(shell: Shell) -> None:
    good = shell.repository()
    several = shell.quick("pull", "not a name", "acme/unknown-of-several", good)
    assert several.exit_code == 2, several.stderr  # that of the first failure
    assert several.stdout.strip() == shell.depot.model(shell.id_of(good))["path"]
    errors = [line for line in several.stderr.splitlines() if line.startswith("Error: ")]
    assert errors[0].startswith("Error: not a name: ")
    assert errors[1].startswith("Error: acme/unknown-of-several: not-found: ")
    assert len(errors) == 2


def test_ctrl_c_says_how_to_wait_for_all_that_are_left(shell: Shell, tmp_path: Path) -> None:
    names = [shell.repository(2 << 20), shell.repository(2 << 20)]
    shell.hub.total_rate = 64 << 10
    with Terminal(tmp_path, shell.environment, "pull", *names) as terminal:
        until(lambda: "% |" in terminal.shown, lambda: terminal.shown)
        terminal.press(b"\x03")
        assert terminal.ends() == 130
        assert f"modeldepot wait {names[0]} {names[1]}" in terminal.shown
    shell.hub.total_rate = None
    paths = shell.printed("wait", *names).splitlines()
    assert paths == [shell.depot.model(shell.id_of(name))["path"] for name in names]
    ended = json.loads(shell.printed("wait", *names, "--json"))["ended"]
    assert [model["path"] for model in ended] == paths


def test_a_dry_run_of_several_says_what_would_come_of_each(shell: Shell) -> None:
    names = [shell.repository(), shell.repository()]
    told = shell.printed("pull", *names, "--dry-run")
    assert all(f"name       {name}\n" in told for name in names)
    plans = json.loads(shell.printed("pull", *names, "--dry-run", "--json"))["plans"]
    for plan in plans:
        contract.check(contract.PLAN, plan)
    assert [plan["name"] for plan in plans] == names


def test_a_dry_run_of_what_is_here_says_so_as_a_pull_does(shell: Shell) -> None:
    name = shell.repository()
    shell.printed("pull", name)
    told = shell.printed("pull", name, "--dry-run")
    assert "to fetch   nothing, it is here: " in told
    assert re.search(r"here +model \S+, ready", told)


def test_a_refused_token_ends_each_pull_with_one_code_and_is_told_once(shell: Shell) -> None:
    name = shell.repository()
    shell.printed("pull", name)
    for words in ((name, "--update"), (shell.repository(),)):
        for more in ((), ("--dry-run",)):
            refused = shell.quick("pull", *words, *more, HF_TOKEN="hf_nobodys")
            assert refused.exit_code == 11, refused.stderr
            (error,) = [line for line in refused.stderr.splitlines() if "token" in line and "sending" not in line]
            assert error.startswith("Error: forbidden: ")
