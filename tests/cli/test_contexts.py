"""`modeldepot login` and `contexts`: which depot a command uses, and that nobody sees the key for it."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from app.client.contexts import LOCAL, Contexts, Place, contexts_file, in_use, load, save
from app.client.exits import Wrong
from app.domain.keys import hub_token
from app.local import address_file, key_file
from app.standalone.folder import DataFolder
from tests.cli.shell import Shell
from tests.depot import KEY, SECRET
from tests.processes import family, said, until
from tests.terminal import Terminal

Run = Callable[..., Result]
_KEY = f"{KEY}:{SECRET}\n"
_HERE = dict.fromkeys(
    ("DEPOT_DATABASE_URL", "DEPOT_REDIS_URL", "DEPOT_STORAGE", "DEPOT_SECRET_KEY", "DEPOT_SECRET_KEY_FILE"), ""
)
"""What a command sets for this process."""


@pytest.fixture
def home(shell: Shell, tmp_path: Path) -> dict[str, str]:
    """The environment of somebody who has set nothing."""
    nothing = dict.fromkeys(("DEPOT_URL", "DEPOT_KEY", "DEPOT_SECRET"), "")
    return shell.environment | nothing | {"HOME": str(tmp_path)}


@pytest.fixture
def run(shell: Shell, home: dict[str, str]) -> Run:
    def run(*words: str, given: str = "", **variables: str) -> Result:
        return shell.quick(*words, given=given, **home | variables)

    return run


def _current(run: Run) -> str:
    (name,) = [one["name"] for one in json.loads(run("contexts", "--json").stdout)["contexts"] if one["current"]]
    return str(name)


@pytest.mark.parametrize("key", [_KEY, hub_token(KEY, SECRET)], ids=["pair", "token"])
def test_after_a_login_the_commands_use_that_depot(shell: Shell, run: Run, tmp_path: Path, key: str) -> None:
    url = shell.environment["DEPOT_URL"]
    assert run("ls").exit_code == 2
    signed_in = run("login", f"{url}/v2", "--name", "work", given=key)
    assert signed_in.exit_code == 0, signed_in.stderr
    assert signed_in.stdout == ""
    assert KEY in signed_in.stderr
    file = tmp_path / ".config" / "modeldepot" / "contexts.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in file.parent.iterdir()] == ["contexts.json"]
    assert run("ls").exit_code == 0
    listed = run("contexts", "list")
    assert f"*  work   {url}" in listed.stdout
    assert SECRET not in signed_in.stderr + listed.stdout + run("contexts", "--json").stdout
    assert run("endpoint").stdout.splitlines()[0] == f"export HF_ENDPOINT={url}"


def test_a_terminal_asks_for_the_key_and_shows_it_never(shell: Shell, home: dict[str, str], tmp_path: Path) -> None:
    seen: set[str] = set()
    for words, secret_apart in ((("--name", "whole"), False), (("--name", "apart"), True)):
        with Terminal(tmp_path, home, "login", shell.environment["DEPOT_URL"], *words, whole=True) as terminal:
            until(lambda: "KEY:SECRET" in terminal.shown, lambda: terminal.shown)  # it is called here
            pid = terminal.process.pid
            seen |= {said(pid, what) for what in ("cmdline", "environ")}
            terminal.press(f"{KEY}\n".encode() if secret_apart else _KEY.encode())
            if secret_apart:
                until(lambda: "Secret" in terminal.shown.partition("KEY:SECRET")[2], lambda: terminal.shown)
                terminal.press(f"{SECRET}\n".encode())
            seen |= {said(one, "cmdline") for one in family(os.getpid())}
            assert terminal.ends() == 0, terminal.shown
            assert SECRET not in terminal.shown
    assert not any(SECRET in text for text in seen)


def test_a_key_that_the_depot_refuses_and_what_is_no_key_are_not_kept(shell: Shell, run: Run) -> None:
    url = shell.environment["DEPOT_URL"]
    for words, given, code in [
        ((url,), f"{KEY}:{'x' * 20}\n", 4),
        ((url,), "\n", 2),
        ((url,), f"{SECRET}\n", 2),
        (("http://127.0.0.1:9",), _KEY, 3),
        (("depot.example",), _KEY, 2),
        ((url.replace("//", f"//{KEY}:{SECRET}@"),), _KEY, 2),
        ((url, "--name", LOCAL), _KEY, 2),
    ]:
        refused = run("login", *words, given=given)
        assert refused.exit_code == code, refused.stderr
        assert refused.stderr.splitlines()[-1].startswith("Error: ")
        assert SECRET not in refused.stderr + refused.stdout
    assert _current(run) == LOCAL


def test_contexts_are_chosen_and_removed(shell: Shell, run: Run) -> None:
    url = shell.environment["DEPOT_URL"]
    for name in ("one", "two"):
        assert run("login", url, "--name", name, given=_KEY).exit_code == 0
    assert _current(run) == "two"
    assert run("contexts", "use", "one").exit_code == 0
    assert _current(run) == "one"
    other = run("login", shell.hub.endpoint, "--name", "one", given=_KEY)
    assert (other.exit_code, "contexts remove one" in other.stderr) == (2, True)
    unknown = run("contexts", "use", "oen")
    assert (unknown.exit_code, "did you mean 'one'?" in unknown.stderr) == (5, True)
    assert run("ls", "--context", "two").exit_code == 0
    assert run("ls", "--context", "three").exit_code == 5
    assert run("ls", "--context", "two", "--url", url).exit_code == 2
    assert run("contexts", "rm", "two").exit_code == 0
    assert _current(run) == "one"
    assert run("contexts", "remove", "one").exit_code == 0
    assert _current(run) == LOCAL
    assert run("contexts", "remove", LOCAL).exit_code == 2
    assert run("ls").exit_code == 2


def test_logout_forgets_the_depot_in_use_or_another(shell: Shell, run: Run) -> None:
    for name in ("one", "two", "three"):
        assert run("login", shell.environment["DEPOT_URL"], "--name", name, given=_KEY).exit_code == 0
    assert "'three' is removed" in run("logout").stderr
    assert _current(run) == LOCAL
    nowhere = run("logout")
    assert (nowhere.exit_code, "modeldepot contexts" in nowhere.stderr) == (2, True)
    assert run("contexts", "use", "one").exit_code == 0
    assert run("logout", "two").exit_code == 0
    assert _current(run) == "one"
    assert run("ls", "--context", "two").exit_code == 5
    assert run("logout", "two").exit_code == 5


def test_the_environment_and_a_data_folder_win(shell: Shell, run: Run, tmp_path: Path) -> None:
    url = shell.environment["DEPOT_URL"]
    assert run("login", url, "--name", "work", given=_KEY).exit_code == 0
    key = {"DEPOT_KEY": KEY, "DEPOT_SECRET": SECRET}
    assert run("ls", DEPOT_URL="http://127.0.0.1:9", **key).exit_code == 3
    assert run("ls", DEPOT_URL=url, **key | {"DEPOT_SECRET": "x" * 20}).exit_code == 4
    # The key of a context is for its own depot; at another address it is never sent.
    assert run("ls", DEPOT_URL=url).exit_code == 0
    elsewhere = run("ls", DEPOT_URL=shell.hub.endpoint)
    assert (elsewhere.exit_code, f"modeldepot login {shell.hub.endpoint}" in elsewhere.stderr) == (2, True)
    # A key without an address is for this machine's depot, as it was before there were contexts.
    address_file(tmp_path).write_text("http://127.0.0.1:9\n")
    assert run("ls", DEPOT_DATA=str(tmp_path), **key).exit_code == 3
    key_file(tmp_path).write_text(_KEY)
    assert run("ls", "--data", str(tmp_path)).exit_code == 3
    assert run("ls", "--context", "work", DEPOT_URL="http://127.0.0.1:9", **key).exit_code == 0
    assert run("ls", "--context", LOCAL, DEPOT_URL=url, DEPOT_DATA=str(tmp_path)).exit_code == 3
    assert run("contexts", "use", LOCAL).exit_code == 0
    warned = run("contexts", DEPOT_URL=url)
    assert "what is set in the environment wins over it: DEPOT_URL\n" in warned.stderr


def test_a_file_that_others_may_read_or_that_is_broken_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    kept = Contexts({"work": Place("https://depot.example.org", KEY, SECRET)}, "work")
    assert load() == Contexts({})
    save(kept)
    assert load() == kept
    assert in_use() == "work"
    assert SECRET not in repr(kept)
    contexts_file().chmod(0o640)
    with pytest.raises(Wrong, match="chmod 600"):
        load()
    contexts_file().chmod(0o600)
    for text in ("", "[]", '{"current": "x"}', '{"current": "x", "contexts": {"x": {"url": 1}}}', "\0"):
        contexts_file().write_text(text)
        assert in_use() == LOCAL
        with pytest.raises(Wrong, match="modeldepot login URL"):
            load()


@pytest.mark.parametrize(
    "words", [("key", "list"), ("operations",), ("audit",), ("webhooks", "list"), ("secrets", "rotate")], ids=" ".join
)
def test_what_acts_on_this_machines_depot_says_so_where_another_one_is_in_use(
    shell: Shell, run: Run, tmp_path: Path, migrated_sqlite: Path, words: tuple[str, ...]
) -> None:
    url = shell.environment["DEPOT_URL"]
    assert run("login", url, "--name", "prod", given=_KEY).exit_code == 0
    no_depot = run(*words, **_HERE)
    assert (no_depot.exit_code, "not on 'prod'" in no_depot.stderr) == (2, True)
    folder = DataFolder(tmp_path / ".local" / "share" / "modeldepot")
    folder.prepare()
    shutil.copy(migrated_sqlite, folder.path / "depot.sqlite3")
    here = run(*words, **_HERE)
    told = [line for line in here.stderr.splitlines() if "not on" in line]
    assert (here.exit_code, len(told), "'prod'" in told[0], "this machine's" in told[0]) == (0, 1, True, True)
    by_address = run(*words, **_HERE, DEPOT_URL=url)
    assert f"not on the one at DEPOT_URL, {url}" in by_address.stderr
    # Who names it means it.
    for named in ((*words, "--data", str(folder.path)), words):
        meant = {} if named != words else {"DEPOT_DATABASE_URL": folder.database_url, "DEPOT_STORAGE": str(tmp_path)}
        meant |= {"DEPOT_SECRET_KEY_FILE": str(folder.key), "DEPOT_REDIS_URL": folder.redis.url} if meant else {}
        assert "not on" not in run(*named, **_HERE | meant).stderr
    assert run("contexts", "use", LOCAL).exit_code == 0
    assert "not on" not in run(*words, **_HERE).stderr
