"""What people type or paste for a model, a pull that only says what it would do, and the search for a name."""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.client.names import arriving, newest
from tests.api import contract
from tests.cli.shell import Shell
from tests.fakehub.hub import Fault
from tests.fakehub.weights import Values, gguf
from tests.processes import until
from tests.terminal import Terminal

VALUES: Values = {"general.architecture": "gemma3", "gemma3.context_length": 32768}
TOKEN = "hf_planted0token0of0the0names"


def quantized(shell: Shell, name: str) -> None:
    """A repository with two quantizations, one of them in shards, and a projector."""
    own: Values = {**VALUES, "general.name": name}  # content of another repository would be here already
    shards = {f"Q8_0/m-Q8_0-0000{number}-of-00002.gguf": gguf(own, size=number) for number in (1, 2)}
    files = {
        "m-Q4_K_M.gguf": gguf(own, size=9),
        "m-UD-Q4_K_M.gguf": gguf(own, size=11),
        "mmproj-F16.gguf": name.encode(),
    }
    shell.hub.add(name, {"README.md": b"# A card", **files, **shards})


_BESIDE = {"mmproj-F16.gguf", "README.md"}
_BASIC = {"m-Q4_K_M.gguf", *_BESIDE}
_DYNAMIC = {"m-UD-Q4_K_M.gguf", *_BESIDE}
_SHARDS = {f"Q8_0/m-Q8_0-0000{number}-of-00002.gguf" for number in (1, 2)}
_PAGE = "https://huggingface.co/{}"
_FORMS = [
    ("{}:Q4_K_M", _BASIC),
    ("{}:m-Q4_K_M.gguf@main", _BASIC),
    ("{}:latest", _BASIC),
    ("ollama run hf.co/{} 'Why is the sky blue?'", _BASIC),
    ("llama-server -hf {}:Q4_K_M --jinja", _BASIC),
    ("{}:ud-q4_k_m", _DYNAMIC),
    ("hf.co/{}:q8_0", _SHARDS | _BESIDE),
    (_PAGE + "/blob/main/Q8_0/m-Q8_0-00002-of-00002.gguf", _SHARDS | _BESIDE),
    (_PAGE + "/resolve/main/Q8_0/m-Q8_0-00001-of-00002.gguf?download=true", _SHARDS | _BESIDE),
    (_PAGE + "/tree/main/Q8_0", _SHARDS),
    (_PAGE + "/blob/main/m-UD-Q4_K_M.gguf", {"m-UD-Q4_K_M.gguf"}),
    (_PAGE + "?show_file_info=m-UD-Q4_K_M.gguf", {"m-UD-Q4_K_M.gguf"}),
    ("hub:/{}/blob/main/m-UD-Q4_K_M.gguf", {"m-UD-Q4_K_M.gguf"}),
    ("huggingface-cli download {} m-UD-Q4_K_M.gguf --local-dir .", {"m-UD-Q4_K_M.gguf"}),
    (_PAGE + "/resolve/main/README.md", {"README.md"}),
    (_PAGE + "/blob/main/mmproj-F16.gguf", {"mmproj-F16.gguf"}),
]
"""What is pasted, with the files of the repository that are meant. `hub:` is the address of the depot's own Hub."""


def _files(path: str) -> set[str]:
    return {file.relative_to(path).as_posix() for file in Path(path).rglob("*") if file.is_file()}


def _is_asked(terminal: Terminal, times: int) -> bool:
    return terminal.shown.count("[Q4_K_M]:") == times


def _pasted(shell: Shell, form: str, name: str) -> str:
    return form.format(name).replace("hub:", shell.hub.endpoint)


@pytest.mark.parametrize(("form", "files"), _FORMS)
def test_what_is_pasted_is_pulled_and_means_that_model_only(
    shell: Shell, form: str, files: set[str], request: pytest.FixtureRequest
) -> None:
    name = f"acme/quantized-{request.node.callspec.indices['form']}"
    quantized(shell, name)
    path = shell.printed("pull", _pasted(shell, form, name)).strip()
    assert _files(path) == files
    own = shell.id_of(name)
    for other, others in _FORMS:
        found = shell.quick("show", text := _pasted(shell, other, name), "--json")
        if found.exit_code == 0:
            # What lacks the projector only holds the same quantization.
            assert json.loads(found.stdout)["id"] == own
            assert others - _BESIDE == files - _BESIDE, text
        else:
            assert (found.exit_code, own in found.stderr) == (5, True), found.stderr
            assert others != files, text
    assert f"{name} is gone" in shell.quick("rm", _pasted(shell, form, name)).stderr


@pytest.mark.parametrize(
    ("kept", "others"),
    [
        (
            "{}:Q4_K_M",
            (
                *(
                    "{}:Q4_K",
                    "{}:UD-Q4_K_M",
                    "{}:F16",
                    "{}:mmproj-F16.gguf",
                    "{}:m",
                    "{}:Q4_K_M@v2",
                    "{}@v2",
                    "{}:Q5_K_M",
                ),
                *(_PAGE + "/blob/main/m-Q4_K_M.gguf", _PAGE + "/tree/main/Q4_K_M", _PAGE + "/resolve/main/README.md"),
            ),
        ),
        ("{}:UD-Q4_K_M", ("{}:Q4_K_M", "{}:latest", "{}:M")),
        ("{}:Q8_0", ("{}:latest", "{}:Q8", "{}:0", _PAGE + "/blob/main/Q8_0/m-Q8_0-00001-of-00003.gguf")),
        ("{}", ("{}:Q4_K_M", "{}:latest", _PAGE + "/blob/main/m-Q4_K_M.gguf", _PAGE + "/resolve/main/README.md")),
    ],
)
def test_what_means_another_model_removes_and_holds_none(
    shell: Shell, kept: str, others: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    name = f"acme/others-{request.node.callspec.indices['kept']}"
    quantized(shell, name)
    shell.printed("pull", kept.format(name))
    own = shell.id_of(name)
    for other in others:
        for words in (("rm", "--yes"), ("deployments", "add", "holds"), ("pause",), ("wait",)):
            refused = shell.quick(*words, other.format(name))
            assert (refused.exit_code, own in refused.stderr) == (5, True), (words, other, refused.stderr)
            assert f"  {own}  {kept.format(name) if ':' in kept else f'{name} (all files)'}\n" in refused.stderr
    assert json.loads(shell.printed("show", kept.format(name), "--json"))["status"] == "ready"


def test_a_quantization_means_no_model_that_holds_more(shell: Shell) -> None:
    plain = shell.repository()
    shell.printed("pull", plain)
    assert shell.quick("rm", f"{plain}:Q5_K_M").exit_code == 5
    assert shell.id_of(plain)
    name = "acme/mixed"
    weights = {"config.json": b"{}", "model.safetensors": b"weights"}
    shell.hub.add(name, weights | {"m-Q4_K_M.gguf": gguf(VALUES, size=3), "m-Q8_0.gguf": gguf(VALUES, size=4)})
    shell.printed("pull", name, "--include", "*Q4_K_M*", "--include", "*.safetensors")
    assert shell.quick("rm", f"{name}:Q4_K_M").exit_code == 5
    shell.printed("pull", name, "--include", "*.gguf")
    assert shell.quick("rm", f"{name}:Q4_K_M").exit_code == 5
    # By what it holds, and not by what its patterns look like.
    shell.printed("pull", name, "--include", "*Q8*")
    assert json.loads(shell.printed("show", f"{name}:Q8_0", "--json"))["include"] == ["*Q8*"]


def test_the_hub_is_asked_for_what_only_it_knows_and_need_not_be_there_for_more(shell: Shell) -> None:
    name = "acme/asked"
    quantized(shell, name)
    shell.printed("pull", name, "--include", "m-Q4_K_M.gguf")  # an answer to what a tag means would be kept for a while
    shell.hub.misbehave(Fault("status", status=503, on="any", times=None))
    try:
        refused = shell.quick("rm", f"{name}:latest")
        assert (refused.exit_code, shell.id_of(name) in refused.stderr) == (5, True), refused.stderr
        assert "what 'latest' means is not known" in refused.stderr
        assert f"{name} is gone" in shell.quick("rm", f"{name}:Q4_K_M").stderr
    finally:
        shell.hub.behave()


def test_a_revision_is_pulled_by_the_name_that_shows_it(shell: Shell) -> None:
    name = "acme/revised"
    quantized(shell, name)
    shell.hub.repos["models", name].commit({"m-Q4_K_M.gguf": gguf(VALUES, size=21)}, branch="v1")
    ids = {}
    for form in (f"{name}:Q4_K_M@v1", f"{name}:Q4_K_M"):
        path = shell.printed("pull", form).strip()
        assert _files(path) == _BASIC
        ids[form] = json.loads(shell.printed("show", form, "--json"))["id"]
    assert len(set(ids.values())) == 2
    assert json.loads(shell.printed("pull", f"https://hf.co/{name}@v1", "--dry-run", "--json"))["revision"] == "v1"
    assert shell.quick("rm", f"{name}:Q4_K_M@v1").exit_code == 0
    assert json.loads(shell.printed("show", name, "--json"))["id"] == ids[f"{name}:Q4_K_M"]


def test_an_updated_model_is_called_as_the_former_one_was(shell: Shell) -> None:
    name = "acme/updated"
    quantized(shell, name)
    form = f"{name}:Q4_K_M"
    shell.printed("pull", form)
    former = shell.id_of(name)
    shell.hub.repos["models", name].commit({"m-Q4_K_M.gguf": gguf(VALUES, size=23)})
    shell.printed("pull", form, "--update")
    current = json.loads(shell.printed("show", form, "--json"))
    assert (current["follows"], current["id"] != former) == ("main", True)
    assert json.loads(shell.printed("deployments", "add", "updated", form, "--json"))["model"]["id"] == current["id"]
    assert shell.printed("wait", name).strip() == current["path"]
    # Which of them is to go is for the user to say.
    both = shell.quick("rm", form)
    assert (both.exit_code, former in both.stderr) == (2, True), both.stderr
    assert f"  {current['id']}  {form}@{current['revision']} (an update of main)" in both.stderr
    shell.printed("rm", former)
    shell.printed("deployments", "rm", "updated")
    shell.printed("rm", form)


def test_what_arrives_is_meant_by_those_who_wait_for_it_or_pause_it_and_else_the_newest() -> None:
    def model(status: str, created: str, follows: str | None = None) -> dict[str, Any]:
        selected = {"name": "acme/x", "revision": "c" * 40 if follows else "main", "include": [], "exclude": []}
        return {**selected, "status": status, "created-at": created, "follows": follows}

    former, update = model("ready", "2026-01-01"), model("ready", "2026-01-02", "main")
    under_way = model("downloading", "2026-01-03", "main")
    assert newest([update, former]) == arriving([former, update]) == [update]
    assert newest([under_way, former]) == [former]
    assert arriving([former, under_way, update]) == [under_way]
    other = former | {"include": ["*.gguf"]}
    assert newest([other, former]) == [other, former]


def test_a_shard_of_safetensors_means_its_model_and_the_pull_says_so(shell: Shell) -> None:
    name = "acme/sharded"
    shards = {f"model-0000{number}-of-00002.safetensors": bytes([number]) for number in (1, 2)}
    beside = {"config.json": b"{}", "model.safetensors.index.json": b"{ }", "tokenizer.model": b"t"}
    shell.hub.add(name, shards | beside | {"consolidated.safetensors": b"c", "README.md": b"r"})
    address = f"https://huggingface.co/{name}/blob/main/model-00002-of-00002.safetensors"
    planned = shell.quick("pull", address, "--dry-run")
    assert "model-00002-of-00002.safetensors is one shard of a model: all 2 are meant" in planned.stderr
    assert _files(shell.printed("pull", address).strip()) == {*shards, *beside}
    assert shell.quick("rm", address).exit_code == 0


def test_a_list_tells_quantizations_apart_and_its_words_name_them(shell: Shell, tmp_path: Path) -> None:
    name = "acme/a-rather-long-name-GGUF"
    quantized(shell, name)
    forms = {"Q4_K_M": ":Q4_K_M", "UD-Q4_K_M": ":UD-Q4_K_M", "Q8_0": "/tree/main/Q8_0"}
    for form in forms.values():
        shell.printed("pull", f"hf.co/{name}{form}")
    with Terminal(tmp_path, shell.environment, "ls", name, columns=60, whole=True) as terminal:
        assert terminal.ends() == 0
        titles, *lines = terminal.lines
    at = titles.index("QUANT")
    assert [line[at:].split()[0] for line in lines] == list(forms)
    assert max(map(len, (titles, *lines))) <= 60
    listed = shell.printed("ls", name).splitlines()[1:]
    for quantization, line in zip(forms, listed, strict=True):
        assert line.split()[:2] == [name, quantization]
        assert "--include" in line
        assert json.loads(shell.printed("show", f"{name}:{quantization}", "--json"))["id"] in line


@pytest.mark.parametrize(
    ("answers", "files"),
    [
        (b"\n", _BASIC),
        (b"Q6_K\nq8_0\n", _SHARDS | _BESIDE),
        (b"all\n", _BASIC | _DYNAMIC | _SHARDS | {"README.md"}),
    ],
)
def test_a_terminal_asks_which_quantization_before_all_are_fetched(
    shell: Shell, tmp_path: Path, answers: bytes, files: set[str], request: pytest.FixtureRequest
) -> None:
    name = f"acme/choice-{request.node.callspec.indices['answers']}"
    quantized(shell, name)
    with Terminal(tmp_path, shell.environment, "pull", name, whole=True) as terminal:
        for number, answer in enumerate(answers.splitlines(keepends=True), 1):
            until(partial(_is_asked, terminal, number), lambda: terminal.shown)
            terminal.press(answer)
        assert terminal.ends() == 0, terminal.shown
    assert f"{name} holds 3 GGUF models, " in terminal.shown
    assert re.search(r"Q8_0 +\d+B +Q8_0/m-Q8_0 +2 shards, projector", terminal.shown)
    assert _files(json.loads(shell.printed("show", name, "--json"))["path"]) == files
    if b"all" in answers:  # which is here now
        with Terminal(tmp_path, shell.environment, "pull", name, whole=True) as terminal:
            assert terminal.ends() == 0, terminal.shown
        assert "Which one" not in terminal.shown


def test_a_script_and_all_are_not_asked(shell: Shell, tmp_path: Path) -> None:
    quantized(shell, "acme/script")
    assert len(_files(shell.printed("pull", "acme/script").strip())) == 6
    quantized(shell, "acme/all")
    with Terminal(tmp_path, shell.environment, "pull", "acme/all", "--all", whole=True) as terminal:
        assert terminal.ends() == 0, terminal.shown
    assert "Which one" not in terminal.shown
    assert len(_files(json.loads(shell.printed("show", "acme/all", "--json"))["path"])) == 6


def test_a_command_line_need_not_be_quoted(shell: Shell) -> None:
    quantized(shell, "acme/unquoted")
    assert _files(shell.printed("pull", "ollama", "run", "hf.co/acme/unquoted").strip()) == _BASIC


def test_a_pasted_page_is_the_whole_repository(shell: Shell) -> None:
    name = shell.repository()
    path = shell.printed("pull", f"https://huggingface.co/{name}?library=vllm").strip()
    assert len(list(Path(path).iterdir())) == 2
    for known in (
        name,
        f"https://huggingface.co/{name}",
        f"hf.co/{name}/tree/main",
        name.partition("/")[2].upper(),
        name.upper(),
        f"hf://{name}/",
    ):
        assert json.loads(shell.printed("show", known, "--json"))["path"] == path
    assert shell.printed("pull", name.partition("/")[2]).strip() == path
    assert f"{name} is gone" in shell.quick("rm", f"hf.co/{name}").stderr


def test_a_name_without_owner_is_used_where_one_model_has_it(shell: Shell) -> None:
    for owner in ("one", "two"):
        shell.hub.add(f"{owner}/same", {"config.json": b"{}"})
    refused = shell.quick("pull", "same")
    assert (refused.exit_code, "'same' may be one/same, two/same" in refused.stderr) == (2, True)
    assert "nor the Hub" in shell.quick("pull", "no-such-name").stderr
    shell.hub.add("one/Single", {"config.json": b"{}"})
    shell.hub.add("one/single-other", {"config.json": b"{}"})
    assert "single is one/Single on the Hub" in shell.quick("pull", "single").stderr
    assert json.loads(shell.printed("show", "single", "--json"))["name"] == "one/Single"
    shell.printed("pull", "one/same")
    assert "one/same is here already" in shell.quick("pull", "same").stderr
    shell.printed("pull", "two/same")
    for command, name in (("pull", "same"), ("show", "same"), ("rm", "same"), ("rm", "same@main")):
        refused = shell.quick(command, name)
        assert refused.exit_code == 2
        assert "one/same" in refused.stderr
        assert "two/same" in refused.stderr


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("https://github.com/acme/quantized",), 2, "huggingface.co/owner/name"),
        (("https://huggingface.co/datasets/acme/quantized",), 2, "datasets"),
        (("acme/quantized:Q3_K_S",), 2, "There is no Q3_K_S in the repository, but Q4_K_M, Q8_0."),
        (("acme/quantized:Q4_K_M", "--include", "*.json"), 2, "leave --include"),
        (("hf.co/acme/quantized/tree/main", "--revision", "v1"), 2, "leave --revision"),
        (("acme/unknown:Q4_K_M",), 10, "no model repository"),
        (("acme/unknown", "--dry-run"), 10, "no model repository"),
    ],
)
def test_what_cannot_be_meant_is_refused(shell: Shell, words: tuple[str, ...], code: int, told: str) -> None:
    quantized(shell, "acme/quantized")
    result = shell.quick("pull", *words)
    assert (result.exit_code, told in result.stderr) == (code, True), result.stderr
    assert result.stdout == ""


def test_a_dry_run_says_what_would_come_and_nothing_does(shell: Shell) -> None:
    name = "acme/dry"
    quantized(shell, name)
    told = shell.printed("pull", name, "--dry-run")
    assert re.search(r"(?m)^to fetch +\d+B: 6 files, \d+B$", told)
    assert re.search(r"(?m)^space +it fits: ", told)
    assert re.search(r"(?m)^access +open to everybody$", told)
    assert re.search(r"(?m)^model +gemma3, context of 32768$", told)
    assert re.search(r"(?m)^x +Q8_0 +\d+B +Q8_0/m-Q8_0 +2 shards, projector$", told)
    one = json.loads(shell.printed("pull", f"{name}:Q4_K_M", "--dry-run", "--json"))
    contract.check(contract.PLAN, one)
    assert {file["path"] for file in one["files"]} == {"m-Q4_K_M.gguf", "mmproj-F16.gguf", "README.md"}
    assert shell.depot.client.get("/ai/model", params={"name": name}).json() == {"models": []}


def test_a_dry_run_of_a_gated_model_says_what_is_missing(shell: Shell) -> None:
    name = shell.repository(gated=True)
    shell.hub.account(TOKEN, accepted=[name])
    planned = shell.quick("pull", name, "--dry-run")
    told = planned.stdout
    assert planned.exit_code == shell.quick("pull", name).exit_code == 11
    assert "No Hub token was sent" in planned.stderr
    assert shell.quick("pull", name, "--dry-run", "--json").exit_code == 11
    assert "gated (auto). " in told
    assert f"accept its licence at {shell.hub.endpoint}/{name}" in told
    assert "gated (auto), granted" in shell.printed("pull", name, "--dry-run", HF_TOKEN=TOKEN)


def test_the_hub_is_searched_by_words(shell: Shell) -> None:
    about = {"downloads": 1_234_567, "likes": 7, "usedStorage": 2_000_000}
    shell.hub.add("zeta/needle-GGUF", {"a.gguf": b""}, gated=True, about=about)
    shell.hub.add("acme/needle", {"config.json": b"{}"})
    lines = [line.split() for line in shell.printed("search", "NEEDLE").splitlines()]
    assert lines[1] == ["zeta/needle-GGUF", "1.2M", "7", "2.00MB", "gated", "2026-01-01"]
    assert lines[2][0] == "acme/needle"
    assert len(lines) == 3
    found = json.loads(shell.printed("search", "needle", "gguf", "--json"))
    contract.check(contract.FOUND, found)
    assert [model["name"] for model in found["models"]] == ["zeta/needle-GGUF"]
    assert "no model" in shell.quick("search", "nothing", "like", "it").stderr
    assert (shell.quick("search", " ").exit_code, shell.quick("search", "").exit_code) == (2, 2)


def test_the_api_stays_exact_and_says_what_to_send(shell: Shell) -> None:
    for name, told in [
        ("https://huggingface.co/acme/m", 'Send "name": "acme/m".'),
        ("hf.co/acme/m/blob/v1/a.gguf", 'Send "name": "acme/m", "revision": "v1", "include": ["a.gguf"].'),
        (f"{shell.hub.endpoint}/acme/m/tree/v1", 'Send "name": "acme/m", "revision": "v1".'),
        ("acme/m@v1", 'Send "name": "acme/m", "revision": "v1".'),
        ("acme/m:Q4_K_M", 'Send "name": "acme/m" and the "include" that POST /v2/ai/model/plan tells for Q4_K_M.'),
        ("all-MiniLM-L6-v2", "for example 'mistralai/Mistral-7B-v0.3'."),
    ]:
        for path in ("/ai/model", "/ai/model/plan"):
            answer = shell.depot.client.post(path, json={"name": name})
            assert answer.status_code == 400
            assert answer.json()["error"].endswith(told), answer.text
            assert answer.json()["field"] == "name"
