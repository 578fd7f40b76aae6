"""What people type or paste for a model, a pull that only says what it would do, and the search for a name."""

import json
import re
from pathlib import Path

import pytest

from tests.api import contract
from tests.cli.shell import Shell
from tests.fakehub.weights import Values, gguf

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


@pytest.mark.parametrize(
    ("form", "files"),
    [
        ("{}:Q4_K_M", {"m-Q4_K_M.gguf", "mmproj-F16.gguf"}),
        ("{}:ud-q4_k_m", {"m-UD-Q4_K_M.gguf", "mmproj-F16.gguf"}),
        ("hf.co/{}:q8_0", {f"Q8_0/m-Q8_0-0000{number}-of-00002.gguf" for number in (1, 2)} | {"mmproj-F16.gguf"}),
        ("https://huggingface.co/{}/blob/main/m-Q4_K_M.gguf", {"m-Q4_K_M.gguf"}),
        ("https://huggingface.co/{}/tree/main/Q8_0", {f"Q8_0/m-Q8_0-0000{number}-of-00002.gguf" for number in (1, 2)}),
    ],
)
def test_what_is_pasted_is_pulled(shell: Shell, form: str, files: set[str], request: pytest.FixtureRequest) -> None:
    name = f"acme/quantized-{request.node.callspec.indices['form']}"
    quantized(shell, name)
    path = Path(shell.done("pull", form.format(name)).strip())
    assert {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()} == files
    assert json.loads(shell.done("show", form.format(name), "--json"))["name"] == name


def test_a_pasted_page_is_the_whole_repository(shell: Shell) -> None:
    name = shell.repository()
    path = shell.done("pull", f"https://huggingface.co/{name}?library=vllm").strip()
    assert len(list(Path(path).iterdir())) == 2
    for known in (name, f"https://huggingface.co/{name}", f"hf.co/{name}/tree/main", name.partition("/")[2].upper()):
        assert json.loads(shell.done("show", known, "--json"))["path"] == path
    assert shell.done("pull", name.partition("/")[2]).strip() == path
    assert f"{name} is gone" in shell.run("rm", f"hf.co/{name}").stderr


def test_a_name_without_owner_is_used_where_one_model_has_it(shell: Shell) -> None:
    for owner in ("one", "two"):
        shell.hub.add(f"{owner}/same", {"config.json": b"{}"})
    assert "owner/name" in shell.run("pull", "same").stderr
    shell.done("pull", "one/same")
    assert "one/same is here already" in shell.run("pull", "same").stderr
    shell.done("pull", "two/same")
    for command in ("pull", "show", "rm"):
        refused = shell.run(command, "same")
        assert refused.returncode == 2
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
        (("acme/unknown:Q4_K_M",), 5, "no model repository"),
        (("acme/unknown", "--dry-run"), 5, "no model repository"),
    ],
)
def test_what_cannot_be_meant_is_refused(shell: Shell, words: tuple[str, ...], code: int, told: str) -> None:
    quantized(shell, "acme/quantized")
    result = shell.run("pull", *words)
    assert (result.returncode, told in result.stderr) == (code, True), result.stderr
    assert result.stdout == ""


def test_a_dry_run_says_what_would_come_and_nothing_does(shell: Shell) -> None:
    name = "acme/dry"
    quantized(shell, name)
    told = shell.done("pull", name, "--dry-run")
    assert re.search(r"(?m)^to fetch +\d+B: 6 files, \d+B$", told)
    assert re.search(r"(?m)^space +it fits: ", told)
    assert re.search(r"(?m)^access +open to everybody$", told)
    assert re.search(r"(?m)^model +gemma3, context of 32768$", told)
    assert re.search(r"(?m)^x +Q8_0 +\d+B +Q8_0/m-Q8_0$", told)
    one = json.loads(shell.done("pull", f"{name}:Q4_K_M", "--dry-run", "--json"))
    contract.check(contract.PLAN, one)
    assert {file["path"] for file in one["files"]} == {"m-Q4_K_M.gguf", "mmproj-F16.gguf"}
    assert shell.depot.client.get("/ai/model", params={"name": name}).json() == {"models": []}


def test_a_dry_run_of_a_gated_model_says_what_is_missing(shell: Shell) -> None:
    name = shell.repository(gated=True)
    shell.hub.account(TOKEN, accepted=[name])
    told = shell.done("pull", name, "--dry-run")
    assert "gated (auto). " in told
    assert f"accept its licence at {shell.hub.endpoint}/{name}" in told
    assert "gated (auto), granted" in shell.done("pull", name, "--dry-run", HF_TOKEN=TOKEN)


def test_the_hub_is_searched_by_words(shell: Shell) -> None:
    about = {"downloads": 1_234_567, "likes": 7, "usedStorage": 2_000_000}
    shell.hub.add("zeta/needle-GGUF", {"a.gguf": b""}, gated=True, about=about)
    shell.hub.add("acme/needle", {"config.json": b"{}"})
    lines = [line.split() for line in shell.done("search", "NEEDLE").splitlines()]
    assert lines[1] == ["zeta/needle-GGUF", "1.2M", "7", "2.00MB", "gated", "2026-01-01"]
    assert lines[2][0] == "acme/needle"
    assert len(lines) == 3
    found = json.loads(shell.done("search", "needle", "gguf", "--json"))
    contract.check(contract.FOUND, found)
    assert [model["name"] for model in found["models"]] == ["zeta/needle-GGUF"]
    assert "no model" in shell.run("search", "nothing", "like", "it").stderr
    assert (shell.run("search", " ").returncode, shell.run("search", "").returncode) == (2, 2)


def test_the_api_stays_exact_and_says_what_to_send(shell: Shell) -> None:
    for name, told in [
        ("https://huggingface.co/acme/m", 'Send "name": "acme/m".'),
        ("hf.co/acme/m/blob/v1/a.gguf", 'Send "name": "acme/m", "revision": "v1", "include": ["a.gguf"].'),
        ("acme/m:Q4_K_M", 'Send "name": "acme/m" and the "include" that POST /v2/ai/model/plan tells for Q4_K_M.'),
        ("all-MiniLM-L6-v2", "for example 'mistralai/Mistral-7B-v0.3'."),
    ]:
        for path in ("/ai/model", "/ai/model/plan"):
            answer = shell.depot.client.post(path, json={"name": name})
            assert answer.status_code == 400
            assert answer.json()["error"].endswith(told), answer.text
            assert answer.json()["field"] == "name"
