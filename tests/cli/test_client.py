"""`modeldepot pull`, `ls`, `show`, `rm`, `wait` and `deployments`, as people run them."""

import json
import os
import re
import shlex
from pathlib import Path

import pytest

from app.domain.keys import hub_token
from app.local import address_file, key_file
from tests.api import contract
from tests.cli.shell import Shell
from tests.depot import KEY, SECRET
from tests.processes import family, said, until
from tests.terminal import Terminal

TOKEN = "hf_planted0token0of0the0tests"
_SIZE = 6 << 20


def test_a_model_is_pulled_listed_shown_and_removed(shell: Shell) -> None:
    name = shell.repository()
    path = shell.done("pull", name).strip()
    assert (Path(path) / "config.json").read_bytes() == b"{}"
    model_id = shell.id_of(name)
    line = next(line for line in shell.done("ls").splitlines() if name in line)
    assert line.split() == [name, "ready", "102B", "-", model_id]
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
    # That has looked, too, whether the branch has moved.
    pulled["latest"] = pulled["commit"]
    assert json.loads(shell.done("wait", name, "--json")) == pulled
    assert json.loads(shell.done("ls", "--json")) == shell.depot.client.get("/ai/model").json()
    files = shell.depot.client.get(f"/ai/model/{pulled['id']}/files").json()
    assert json.loads(shell.done("show", name, "--json", "--files")) == files
    removed = json.loads(shell.done("rm", name, "--json"))
    contract.check(contract.OPERATION, removed)
    assert removed["state"] == "success"
    assert json.loads(shell.done("wait", removed["id"], "--json")) == removed
    failed = shell.run("pull", "acme/nowhere", "--json")
    assert json.loads(failed.stdout)["reason"] == "not-found"


def test_a_pull_of_what_is_there_says_so_and_is_a_success(shell: Shell) -> None:
    name = shell.ready()
    again = shell.run("pull", name)
    assert again.returncode == 0
    assert again.stdout.strip() == shell.depot.model(shell.id_of(name))["path"]
    assert f"{name} is here already" in again.stderr


def test_a_pull_of_what_is_there_says_that_its_branch_has_moved_and_what_to_do(shell: Shell) -> None:
    name = shell.repository()
    path = shell.done("pull", name, "--include", "*.json").strip()
    model_id = shell.id_of(name)
    assert "moved" not in shell.run("pull", name, "--include", "*.json").stderr
    repo = shell.hub.repos["models", name]
    before, after = repo.branches["main"], repo.commit({"config.json": b"[]"})

    def told() -> str:
        again = shell.run("pull", name, "--include", "*.json")
        assert (again.returncode, again.stdout.strip()) == (0, path)
        error: str = again.stderr
        return error if "main has moved" in error else ""

    until(told, shell.depot.logs)
    lines = told()
    assert before[:12] in lines
    assert after[:12] in lines
    (line,) = [line for line in lines.splitlines() if line.endswith("--update")]
    update = shlex.split(line.partition(": modeldepot ")[2])
    assert re.search(rf"(?m)^{re.escape(name)}  .*ready update  .*{model_id}", shell.printed("ls"))
    newer = shell.done(*update).strip()
    assert "ready update" not in shell.printed("ls", name)
    (new,) = [one for one in json.loads(shell.printed("ls", name, "--json"))["models"] if one["follows"]]
    assert re.search(r"(?m)^follows +main$", shell.printed("show", new["id"]))
    assert [file.read_bytes() for file in Path(newer).iterdir()] == [b"[]"]
    assert [file.read_bytes() for file in Path(path).iterdir()] == [b"{}"]
    assert shell.done(*update).strip() == newer
    assert f"main is at {after}" in shell.done("show", model_id)
    assert re.search("^Model [0-9a-f-]{36} has that", told(), re.MULTILINE)
    assert "moved" in shell.run("pull", name, "--include", "*.json", "--detach").stderr
    repo.private = True
    until(lambda: "can't be told" in shell.run("pull", name, "--include", "*.json").stderr, shell.depot.logs)


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
    name = shell.repository(4 << 20)
    lines = shell.run("pull", name).stderr.splitlines()
    assert lines[-1] == f"{name}: ready"
    assert len(lines) == len(set(lines))
    assert any("% of 4.19MB" in line for line in lines)
    assert all(line.startswith(f"{name}: ") for line in lines)


def test_a_terminal_shows_bytes_rate_and_time_left_moving(shell: Shell, tmp_path: Path) -> None:
    name = shell.repository(8 << 20)
    with Terminal(tmp_path, shell.environment, "pull", name) as terminal:
        assert terminal.ends() == 0, terminal.shown
        percents = [int(found) for found in re.findall(r"(\d+)% \|", terminal.shown)]
        assert len(set(percents)) > 2
        assert percents == sorted(percents)
        assert percents[-1] == 100
        assert re.search(r"\d%.*█.*\| [\d.]+MB/8\.39MB, [\d.]+[Mk]B/s, 00:0\d left", terminal.shown)
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
    shell.hub.total_rate = 64 << 10
    with Terminal(tmp_path, shell.environment, "pull", name) as terminal:
        until(lambda: "% |" in terminal.shown, lambda: terminal.shown)
        terminal.press(b"\x03")
        assert terminal.ends() == 130
        assert f"modeldepot wait {name}" in terminal.shown
        assert "Traceback" not in terminal.shown
    assert shell.depot.model(shell.id_of(name))["status"] == "downloading"
    shell.hub.total_rate = None
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
    assert (waited.returncode, "not-found: " in waited.stderr) == (10, True)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("acme/unknown",), 10, "not-found: "),
        (("acme/unknown", "--token-stdin"), 10, "not-found: "),
        (("acme/there", "--revision", "v9"), 10, "not-found: "),
        (("acme/there", "--include", "*.gguf"), 12, "incorrect: "),
        (("nobody-has-this",), 2, "neither the depot nor the Hub"),
        (("acme/there", "--token", TOKEN), 2, "--token"),
        (("acme/there", "--token-file", "/nowhere"), 2, "can't read /nowhere: No such file or directory\n"),
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
            # No others: a test that runs beside this one may have the token where it likes.
            ours = family(os.getpid())
            others = [said(pid, "environ") for pid in ours if pid != terminal.process.pid]
            seen.update(text for text in (*others, *(said(pid, "cmdline") for pid in ours)) if TOKEN in text)
            return terminal.process.poll() is not None

        until(ended, lambda: terminal.shown)
        assert terminal.ends() == 0, terminal.shown
        assert seen == set()
        assert f"sending the Hub token of {source} along" in terminal.shown
        # A terminal echoes what is typed; the command itself shows it never.
        assert terminal.shown.count(TOKEN) == (source == "standard input")
    assert TOKEN not in terminal.output + shell.depot.logs()


def test_a_key_of_the_depot_is_never_sent_to_the_hub(shell: Shell) -> None:
    """`modeldepot endpoint` puts it into HF_TOKEN, for clients of the depot."""
    name = shell.repository()
    own = hub_token(shell.environment["DEPOT_KEY"], shell.environment["DEPOT_SECRET"])
    shell.hub.forget()
    for words in (("--dry-run",), ()):
        pulled = shell.quick("pull", name, *words, HF_TOKEN=own)
        assert (pulled.exit_code, "it is not sent there" in pulled.stderr) == (0, True), pulled.stderr
    # Nor is it if another program sends it along.
    for path in ("", "/plan", f"/{shell.id_of(name)}/refresh"):
        sent = shell.depot.client.post(f"/ai/model{path}", json={"name": name, "huggingface-token": own})
        if path.endswith("refresh"):
            sent = shell.depot.client.post(f"/ai/model{path}", json={"huggingface-token": own})
        assert (sent.status_code, "a key of this depot" in sent.json()["error"]) == (400, True), sent.text
    assert not any("authorization" in request.headers for request in shell.hub.requests)
    # One of another depot is a token of the Hub that this one is for.
    other = hub_token("EXOanother", "secret-of-another-depot")
    assert "sending the Hub token" in shell.quick("pull", name, HF_TOKEN=other).stderr


def test_no_token_is_sent_against_ones_will(shell: Shell, tmp_path: Path) -> None:
    name = shell.repository(private=True)
    shell.hub.account(TOKEN, may_read=[name])
    (tmp_path / "token").write_text(TOKEN)
    login = {"HF_HOME": str(tmp_path)}
    for words, variables in [(("--no-token",), login | {"HF_TOKEN": TOKEN}), ((), login)]:
        result = shell.run("pull", name, *words, **variables)
        assert result.returncode == 10
        assert str(tmp_path / "token") in result.stderr


def test_what_deployments_use_is_not_removed_and_they_are_named(shell: Shell) -> None:
    name = shell.repository()
    early = shell.run("deployments", "add", "chat", name)
    assert (early.returncode, name in early.stderr) == (5, True)
    shell.done("pull", name)
    deployment_id = shell.done("deployments", "add", "chat of ours", name, "--gpu-type", "gpua5000", "--replicas", "2")
    refused = shell.run("rm", name)
    assert refused.returncode == 6
    assert f"chat of ours  {deployment_id.strip()}" in refused.stderr
    assert "chat of ours" in shell.done("show", name)
    assert re.search(rf"chat of ours +{name} +gpua5000 x2 .*{deployment_id}", shell.done("deployments"))
    listed = json.loads(shell.done("deployments", "--json"))
    contract.check(contract.DEPLOYMENTS, listed)
    assert listed == shell.depot.client.get("/ai/deployment").json()
    contract.check(contract.OPERATION, json.loads(shell.done("deployments", "rm", "chat of ours", "--json")))
    assert shell.run("deployments", "rm", "chat of ours").returncode == 5
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


def test_a_name_means_the_model_that_is_there_and_not_one_that_never_came(shell: Shell) -> None:
    name = shell.repository()
    shell.done("pull", name)
    assert shell.run("pull", name, "--revision", "nope").returncode == 10
    assert json.loads(shell.done("show", name, "--json"))["status"] == "ready"
    shell.done("rm", name)
    assert json.loads(shell.done("show", name, "--json"))["status"] == "error"
