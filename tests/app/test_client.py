"""`modeldepot pull`, `ls`, `show`, `rm` and `wait`, as people run them against a depot of real processes."""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from app.own_depot import address_file, key_file
from tests.app import contract
from tests.conftest import migrated
from tests.depot import KEY, SECRET, Depot
from tests.hub import Hub, Synthetic
from tests.processes import processes, said, until
from tests.servers import Redis
from tests.terminal import Terminal, modeldepot

TOKEN = "hf_planted0token0of0the0tests"
_SIZE = 6 << 20


@dataclass(frozen=True)
class Shell:
    """A depot, its Hub, and the environment of somebody who uses it from outside."""

    depot: Depot
    hub: Hub
    environment: dict[str, str]
    _names: Iterator[int] = field(default_factory=count)

    def run(self, *words: str, given: str = "", **variables: str) -> Any:
        return modeldepot(self.environment | variables, *words, given=given)

    def done(self, *words: str, **variables: str) -> str:
        """What it printed, and all is well."""
        result = self.run(*words, **variables)
        assert result.returncode == 0, result.stderr
        output: str = result.stdout
        return output

    def repository(self, size: int = 100, **given: Any) -> str:
        """The name of a new one. The Hub sends two MiB of it per second."""
        name = f"acme/model-{next(self._names)}"
        self.hub.add(name, {"config.json": b"{}", "model.safetensors": Synthetic(size, next(self._names))}, **given)
        return name

    def id_of(self, name: str) -> str:
        (model,) = [one for one in self.depot.client.get("/ai/model").json()["models"] if one["name"] == name]
        found: str = model["id"]
        return found


@pytest.fixture(scope="module")
def shell(
    request: pytest.FixtureRequest, redis_server: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shell]:
    folder, request.param = tmp_path_factory.mktemp("client"), "sqlite"
    with Hub() as hub:
        hub.rate = 2 << 20
        depot = Depot(
            folder,
            database_url=migrated(request, folder),
            redis_url=redis_server.url,
            hub_endpoint=hub.endpoint,
            connections=1,
        )
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DEPOT_", "HF_")) and name not in {"TERM", "HOME"}
        }
        home = {"HOME": str(folder), "TERM": "xterm", "XDG_DATA_HOME": str(folder)}
        where = {"DEPOT_URL": f"http://127.0.0.1:{depot.port}", "DEPOT_KEY": KEY, "DEPOT_SECRET": SECRET}
        yield Shell(depot, hub, clean | home | where)
        depot.close()


def test_a_model_is_pulled_listed_shown_and_removed(shell: Shell) -> None:
    name = shell.repository()
    path = shell.done("pull", name).strip()
    assert (Path(path) / "config.json").read_bytes() == b"{}"
    model_id = shell.id_of(name)
    line = next(line for line in shell.done("ls").splitlines() if name in line)
    assert line.split() == [name, "ready", "102B", model_id]
    for known in (name, model_id, f"{name}@main"):
        shown = shell.done("show", known)
        assert path in shown
        assert model_id in shown
    assert "model.safetensors" in shell.done("show", name, "--files")
    assert shell.run("rm", name).stderr == f"{name} is gone\n"
    assert shell.run("show", name).returncode == 5
    assert not Path(path).exists()


def test_json_is_what_the_api_says(shell: Shell) -> None:
    name = shell.repository()
    pulled = json.loads(shell.done("pull", name, "--json"))
    contract.check(contract.MODEL, pulled)
    assert pulled == shell.depot.model(pulled["id"])
    assert json.loads(shell.done("show", name, "--json")) == pulled
    assert json.loads(shell.done("pull", name, "--json", "--detach")) == pulled
    assert json.loads(shell.done("wait", name, "--json")) == pulled
    assert json.loads(shell.done("ls", "--json")) == shell.depot.client.get("/ai/model").json()
    files = shell.depot.client.get(f"/ai/model/{pulled['id']}/files").json()
    assert json.loads(shell.done("show", name, "--json", "--files")) == files
    removed = json.loads(shell.done("rm", name, "--json"))
    contract.check(contract.OPERATION, removed)
    assert removed["state"] == "success"
    assert json.loads(shell.done("wait", removed["id"], "--json")) == removed
    failed = shell.run("pull", "acme/nowhere", "--json")
    assert json.loads(failed.stdout)["reason"] == "forbidden"


def test_a_pull_of_what_is_there_says_so_and_is_a_success(shell: Shell) -> None:
    name = shell.repository()
    first, again = shell.run("pull", name), shell.run("pull", name)
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert f"{name} is here already" in again.stderr


def test_a_selection_is_pulled_and_told_from_the_whole(shell: Shell) -> None:
    name = shell.repository()
    whole = shell.done("pull", name).strip()
    some = shell.done("pull", name, "--include", "*.json", "--revision", "main").strip()
    assert [file.name for file in Path(some).iterdir()] == ["config.json"]
    assert whole != some
    unclear = shell.run("rm", name)
    assert unclear.returncode == 2
    assert "--include '*.json'" in unclear.stderr
    (one,) = [line.split()[0] for line in unclear.stderr.splitlines() if "--include" in line]
    assert shell.done("show", one, "--files").split()[-1] == "config.json"


def test_elsewhere_than_on_a_terminal_each_change_is_a_line(shell: Shell) -> None:
    name = shell.repository(_SIZE)
    lines = shell.run("pull", name).stderr.splitlines()
    assert lines[-1] == f"{name}: ready"
    assert len(lines) == len(set(lines)) > 3
    assert all(line.startswith(f"{name}: ") for line in lines)


def test_a_terminal_shows_bytes_rate_and_time_left_moving(shell: Shell, tmp_path: Path) -> None:
    name = shell.repository(_SIZE)
    with Terminal(tmp_path, shell.environment, "pull", name) as terminal:
        assert terminal.ends() == 0, terminal.shown
        percents = [int(found) for found in re.findall(r"(\d+)% \|", terminal.shown)]
        assert len(set(percents)) > 3
        assert percents == sorted(percents)
        assert percents[-1] == 100
        assert re.search(r"\d%.*█.*\| [\d.]+MB/6\.29MB, [\d.]+[Mk]B/s, 00:0\d left", terminal.shown)
        assert "ready" in terminal.shown
        assert Path(terminal.output.strip()).is_dir()


def test_a_pull_outlives_the_api_that_it_watches(shell: Shell, tmp_path: Path) -> None:
    name = shell.repository(_SIZE)
    with Terminal(tmp_path, shell.environment, "pull", name) as terminal:
        until(lambda: "% |" in terminal.shown, lambda: terminal.shown)
        assert shell.depot.api is not None
        shell.depot.api.kill()
        shell.depot.api.wait()
        until(lambda: "(trying again)" in terminal.shown, lambda: terminal.shown)
        seen = len(terminal.shown)
        shell.depot.start_api()
        assert terminal.ends() == 0, terminal.shown
        assert "100%" in terminal.shown[seen:]
        assert Path(terminal.output.strip()).is_dir()


def test_ctrl_c_leaves_the_download_running_and_says_how_to_go_on(shell: Shell, tmp_path: Path) -> None:
    name = shell.repository(_SIZE)
    with Terminal(tmp_path, shell.environment, "pull", name) as terminal:
        until(lambda: "% |" in terminal.shown, lambda: terminal.shown)
        terminal.press(b"\x03")
        assert terminal.ends() == 130
        assert f"modeldepot wait {name}" in terminal.shown
        assert "Traceback" not in terminal.shown
    assert shell.depot.model(shell.id_of(name))["status"] == "downloading"
    under_way = shell.run("pull", name)
    assert under_way.returncode == 0
    assert f"{name} is under way already" in under_way.stderr
    assert under_way.stdout == shell.done("wait", name)


def test_a_detached_pull_is_waited_for_by_its_operation(shell: Shell) -> None:
    name = shell.repository()
    model_id = shell.done("pull", name, "--detach").strip()
    assert shell.run("wait", model_id).returncode == 0
    assert shell.depot.model(model_id)["status"] == "ready"
    failing = shell.depot.create("acme/nowhere-else")
    waited = shell.run("wait", failing["id"])
    assert (waited.returncode, "forbidden: " in waited.stderr) == (11, True)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("acme/unknown",), 11, "forbidden: "),
        (("acme/unknown", "--token-stdin"), 10, "not-found: "),
        (("acme/there", "--revision", "v9"), 10, "not-found: "),
        (("acme/there", "--include", "*.gguf"), 12, "incorrect: "),
        (("there",), 2, "owner/name"),
        (("acme/there", "--token", TOKEN), 2, "--token"),
        (("acme/there", "--token-file", "/nowhere"), 2, "/nowhere"),
    ],
)
def test_a_failure_tells_its_reason_and_has_an_exit_code_of_its_own(
    shell: Shell, words: tuple[str, ...], code: int, told: str
) -> None:
    shell.hub.add("acme/there", {"config.json": b"{}"})
    shell.hub.account(TOKEN)
    result = shell.run("pull", *words, given=f"{TOKEN}\n")
    assert (result.returncode, told in result.stderr) == (code, True), result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1].startswith("Error: ")


def test_a_model_that_is_deleted_meanwhile_fails_its_pull(shell: Shell, tmp_path: Path) -> None:
    name = shell.repository(_SIZE)
    with Terminal(tmp_path, shell.environment, "pull", name) as terminal:
        until(lambda: "% |" in terminal.shown, lambda: terminal.shown)
        assert shell.run("rm", name).returncode == 0
        assert terminal.ends() == 17
        assert "interrupted: " in terminal.shown


@pytest.mark.parametrize(
    ("words", "source"),
    [((), "HF_TOKEN"), (("--token-file", "token"), "token"), (("--token-stdin",), "standard input")],
)
def test_a_token_opens_a_private_model_and_is_seen_nowhere(
    shell: Shell, tmp_path: Path, words: tuple[str, ...], source: str
) -> None:
    name = shell.repository(private=True)
    shell.hub.account(TOKEN, may_read=[name])
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    environment = shell.environment | ({} if words else {"HF_TOKEN": TOKEN})
    seen: set[str] = set()
    with Terminal(tmp_path, environment, "pull", name, *words) as terminal:
        if source == "standard input":
            terminal.press(TOKEN.encode() + b"\n")

        def ended() -> bool:
            others = [said(pid, "environ") for pid in processes() if pid != terminal.process.pid]
            seen.update(text for text in (*others, *(said(pid, "cmdline") for pid in processes())) if TOKEN in text)
            return terminal.process.poll() is not None

        until(ended, lambda: terminal.shown)
        assert terminal.ends() == 0, terminal.shown
        assert seen == set()
        assert f"sending the Hub token of {source} along" in terminal.shown
        # A terminal echoes what is typed; the command itself shows it never.
        assert terminal.shown.count(TOKEN) == (source == "standard input")
    assert TOKEN not in terminal.output + shell.depot.logs()


def test_no_token_is_sent_against_ones_will(shell: Shell, tmp_path: Path) -> None:
    name = shell.repository(private=True)
    shell.hub.account(TOKEN, may_read=[name])
    (tmp_path / "token").write_text(TOKEN)
    login = {"HF_HOME": str(tmp_path)}
    for words, variables in [(("--no-token",), login | {"HF_TOKEN": TOKEN}), ((), login)]:
        result = shell.run("pull", name, *words, **variables)
        assert result.returncode == 11
        assert str(tmp_path / "token") in result.stderr


def test_what_deployments_use_is_not_removed_and_they_are_named(shell: Shell) -> None:
    name = shell.repository()
    shell.done("pull", name)
    body = {"name": "chat of ours", "model": {"name": name}}
    deployment = shell.depot.client.post("/ai/deployment", json=body).json()["reference"]["id"]
    refused = shell.run("rm", name)
    assert refused.returncode == 6
    assert "chat of ours" in refused.stderr
    assert "chat of ours" in shell.done("show", name)
    shell.depot.client.delete(f"/ai/deployment/{deployment}")
    assert shell.run("rm", name).returncode == 0


def test_a_depot_that_cannot_be_asked_is_told_with_what_to_do(shell: Shell) -> None:
    here = shell.environment["DEPOT_URL"]
    for variables, code, told in [
        ({"DEPOT_URL": "http://127.0.0.1:9"}, 3, "modeldepot up"),
        ({"DEPOT_URL": here.replace("http", "https")}, 3, "http://"),
        ({"DEPOT_URL": shell.hub.endpoint}, 2, "no Model Depot"),
        ({"DEPOT_URL": "depot.example"}, 2, "DEPOT_URL"),
        ({"DEPOT_SECRET": "x" * 20}, 4, KEY),
        ({"DEPOT_SECRET": ""}, 2, "DEPOT_SECRET"),
        ({"DEPOT_SECRET": "", "DEPOT_KEY": ""}, 2, "DEPOT_KEY"),
        ({"DEPOT_URL": "", "DEPOT_SECRET": "", "DEPOT_KEY": ""}, 2, "modeldepot up"),
    ]:
        result = shell.run("ls", **variables)
        assert (result.returncode, result.stdout) == (code, ""), result.stderr
        assert result.stderr.startswith("Error: ")
        assert told in result.stderr
        assert result.stderr.count("\n") == 1
        assert SECRET not in result.stderr


def test_the_key_in_the_data_folder_is_for_the_depot_of_this_machine_only(shell: Shell, tmp_path: Path) -> None:
    address_file(tmp_path).write_text(shell.environment["DEPOT_URL"] + "\n")
    key_file(tmp_path).write_text(f"{KEY}:{SECRET}\n")
    own = {"DEPOT_DATA": str(tmp_path), "DEPOT_KEY": "", "DEPOT_SECRET": "", "DEPOT_URL": ""}
    assert shell.run("ls", **own).returncode == 0
    assert shell.run("ls", **own | {"DEPOT_URL": f"{shell.environment['DEPOT_URL']}/v2"}).returncode == 0
    elsewhere = shell.run("ls", **own | {"DEPOT_URL": shell.hub.endpoint})
    assert (elsewhere.returncode, "DEPOT_KEY" in elsewhere.stderr) == (2, True)


def test_the_shell_completes_the_names_of_models(shell: Shell) -> None:
    name = shell.repository()
    shell.done("pull", name)
    words = {"COMP_WORDS": "modeldepot show acme/", "COMP_CWORD": "2"}
    assert name in shell.done(**words | {"_MODELDEPOT_COMPLETE": "bash_complete"})
