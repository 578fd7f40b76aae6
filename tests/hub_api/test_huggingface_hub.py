"""What users of huggingface_hub do, with HF_ENDPOINT set to a depot: every call, and every error as they read it."""

from pathlib import Path
from typing import Any

import pytest

from tests.hub_api.clients import hf, python
from tests.hub_api.conftest import BERT, FILES, GGUF, ODD, WEIGHTS, Kept

_CALLS: dict[str, str] = {
    "model_info": "api.model_info(R).sha",
    "model_info_files": "[[s.rfilename, s.size, s.lfs and s.lfs.sha256] for s in api.model_info(R, files_metadata=True).siblings]",
    "hf_hub_download": "read(h.hf_hub_download(R, 'config.json'))",
    "hf_hub_download_again": "read(h.hf_hub_download(R, 'config.json'))",
    "hf_hub_download_odd": "len(read(h.hf_hub_download(R, ODD)))",
    "snapshot": "files(h.snapshot_download(R))",
    "snapshot_again": "files(h.snapshot_download(R))",
    "snapshot_localdir": "files(h.snapshot_download(R, local_dir=HOME + '/ld'))",
    "snapshot_localdir_again": "files(h.snapshot_download(R, local_dir=HOME + '/ld'))",
    "snapshot_commit": "files(h.snapshot_download(R, revision=COMMIT, cache_dir=HOME + '/c2', allow_patterns=['*.json']))",
    "empty_file": "read(h.hf_hub_download(G, 'empty.txt'))",
    "list_repo_files": "api.list_repo_files(R)",
    "list_repo_tree": "[[type(x).__name__, x.path] for x in api.list_repo_tree(R)]",
    "list_repo_tree_below": "[x.path for x in api.list_repo_tree(R, 'onnx')]",
    "list_repo_tree_rec": "[x.path for x in api.list_repo_tree(R, recursive=True, expand=False)]",
    "paths_info": "[x.path for x in api.get_paths_info(R, ['config.json', 'onnx', 'nope'])]",
    "file_exists": "[api.file_exists(R, 'config.json'), api.file_exists(R, 'nope')]",
    "repo_exists": "[api.repo_exists(R), api.repo_exists('a/b')]",
    "revision_exists": "[api.revision_exists(R, 'main'), api.revision_exists(R, 'nope')]",
    "list_repo_refs": "[[b.name, b.target_commit] for b in api.list_repo_refs(R).branches]",
    "list_repo_commits": "[c.commit_id for c in api.list_repo_commits(R)]",
    "list_models": "sorted(m.id for m in api.list_models(search='tiny'))",
    "list_models_limit": "[m.id for m in api.list_models(author='acme', limit=1)]",
    "whoami": "api.whoami()['auth']['accessToken']['role']",
    "safetensors_metadata": "api.get_safetensors_metadata(R).parameter_count",
    "get_hf_file_metadata": "h.get_hf_file_metadata(h.hf_hub_url(R, 'model.safetensors')).size",
    "hffs": "fs()",
    "missing_file": "h.hf_hub_download(R, 'nope.json')",
    "missing_revision": "h.hf_hub_download(R, 'config.json', revision='nope')",
    "missing_repo": "h.hf_hub_download('no/such', 'config.json')",
    "missing_repo_snapshot": "h.snapshot_download('no/such')",
    "wrong_key": "api.whoami(token='EXOnobody:a-secret-of-nobody')",
}
_CODE = """
import os
from pathlib import Path
R, G, ODD, COMMIT, HOME = (given[name] for name in ("R", "G", "ODD", "COMMIT", "HOME"))
def read(path):
    return Path(path).read_text()
def files(folder):
    found = {p.relative_to(folder).as_posix(): p.stat().st_size for p in Path(folder).rglob("*") if p.is_file()}
    return {path: size for path, size in found.items() if not path.startswith(".cache")}
def fs():
    f = h.HfFileSystem()
    names = [x["name"] for x in f.ls(R)]
    globbed = sorted(f.glob(R + "/**/*.json"))
    with f.open(R + "/model.safetensors", "rb") as o:
        o.seek(-16, 2)
        end = list(o.read())
    read = f.cat_file(R + "/config.json").decode()
    return [names, globbed, read, end, f.info(R + "/model.safetensors")["size"], f.exists(R + "/nope"), f.exists("x/y")]
def call(code):
    try:
        return eval(code)
    except Exception as error:
        return [type(error).__name__, str(error)]
print(json.dumps({name: call(code) for name, code in given["calls"].items()}))
"""
_SIZES = {path: len(content) for path, content in FILES[BERT].items() if isinstance(content, bytes)}
_JSON = {path: size for path, size in _SIZES.items() if path.endswith(".json")}


def _sums(kept: Kept) -> dict[str, str]:
    entries = kept.hub.repos["models", BERT].commits[kept.commit(BERT)].entries
    return {path: entry.content.sha256 for path, entry in entries.items() if entry.lfs}


def test_every_call_answers_as_the_hub_does_and_every_error_says_what_to_do(kept: Kept, tmp_path: Path) -> None:
    given = {"R": BERT, "G": GGUF, "ODD": ODD, "COMMIT": kept.commit(BERT), "HOME": str(tmp_path)}
    told: dict[str, Any] = python(kept.depot, tmp_path, _CODE, calls=_CALLS, **given)
    commit, sums = kept.commit(BERT), _sums(kept)
    errors = {name: told.pop(name) for name in list(told) if name.startswith(("missing", "wrong"))}
    assert told == {
        "model_info": commit,
        "model_info_files": [[path, size, sums.get(path)] for path, size in sorted(_SIZES.items())],
        "hf_hub_download": '{"model_type": "bert"}',
        "hf_hub_download_again": '{"model_type": "bert"}',
        "hf_hub_download_odd": _SIZES[ODD],
        "snapshot": _SIZES,
        "snapshot_again": _SIZES,
        "snapshot_localdir": _SIZES,
        "snapshot_localdir_again": _SIZES,
        "snapshot_commit": _JSON,
        "empty_file": "",
        "list_repo_files": sorted(_SIZES),
        "list_repo_tree": [
            ["RepoFile", "config.json"],
            ["RepoFile", "model.safetensors"],
            ["RepoFolder", "onnx"],
            ["RepoFile", "vocab.txt"],
        ],
        "list_repo_tree_below": ["onnx/config.json", ODD],
        "list_repo_tree_rec": sorted([*_SIZES, "onnx"]),
        "paths_info": ["config.json", "onnx"],
        "file_exists": [True, False],
        "repo_exists": [True, False],
        "revision_exists": [True, False],
        "list_repo_refs": [["main", commit]],
        "list_repo_commits": [commit],
        "list_models": sorted([BERT, GGUF]),
        "list_models_limit": [GGUF],
        "whoami": "read",
        "safetensors_metadata": {"F32": 16},
        "get_hf_file_metadata": len(WEIGHTS),
        "hffs": [
            [f"{BERT}/{path}" for path in ("config.json", "model.safetensors", "onnx", "vocab.txt")],
            [f"{BERT}/config.json", f"{BERT}/onnx/config.json"],
            '{"model_type": "bert"}',
            list(WEIGHTS[-16:]),
            len(WEIGHTS),
            False,
            False,
        ],
    }
    assert {name: error[0] for name, error in errors.items()} == {
        "missing_file": "RemoteEntryNotFoundError",
        "missing_revision": "RevisionNotFoundError",
        "missing_repo": "RepositoryNotFoundError",
        "missing_repo_snapshot": "RepositoryNotFoundError",
        "wrong_key": "HfHubHTTPError",
    }
    assert f"nope.json is not in {BERT}." in errors["missing_file"][1]
    assert f"modeldepot pull {BERT} --revision nope" in errors["missing_revision"][1]
    for name in ("missing_repo", "missing_repo_snapshot"):
        assert "the depot does not keep no/such: modeldepot pull no/such" in errors[name][1]


def test_a_second_snapshot_asks_once_and_fetches_nothing(kept: Kept, tmp_path: Path) -> None:
    code = "print(json.dumps(h.snapshot_download(given['R'])))"
    first = python(kept.depot, tmp_path, code, R=BERT)
    before = len(_asked(kept))
    assert python(kept.depot, tmp_path, code, R=BERT) == first
    assert [path for path in _asked(kept)[before:] if "agent-harnesses" not in path] == [
        f"/api/models/{BERT}/revision/main"
    ]


def test_the_command_downloads_and_signs_in(kept: Kept, tmp_path: Path) -> None:
    done = hf(kept.depot, tmp_path, "download", GGUF, "--local-dir", str(tmp_path / "all"))
    assert done.returncode == 0, done.stderr
    for path, content in FILES[GGUF].items():
        expected = content if isinstance(content, bytes) else None
        assert expected is None or (tmp_path / "all" / path).read_bytes() == expected
    assert (tmp_path / "all" / "big.bin").stat().st_size == 5 << 20
    one = hf(kept.depot, tmp_path, "download", GGUF, "--include", "*Q4_K_M*.gguf", "--local-dir", str(tmp_path / "one"))
    assert one.returncode == 0, one.stderr
    assert [path.name for path in (tmp_path / "one").glob("*.gguf")] == ["tiny-Q4_K_M.gguf"]
    assert hf(kept.depot, tmp_path, "auth", "whoami").returncode == 0
    listed = hf(kept.depot, tmp_path, "models", "ls", "--search", "bert", "--format", "json")
    assert BERT in listed.stdout, listed.stderr


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_selection_leaves_nothing_in_a_cache_that_is_wrong_of_the_whole(fresh: Kept, tmp_path: Path) -> None:
    """Selections, then the whole, by the same cache: it has all files, and never holds the part for the whole."""
    cache = tmp_path / "hub" / f"models--{BERT.replace('/', '--')}"
    true = fresh.commit(BERT)
    fresh.pull(BERT, include=["*.json"])
    part = python(fresh.depot, tmp_path, _POISON, R=BERT, COMMIT=true)
    assert part["files"] == sorted(_JSON)
    assert part["missing"] == part["missing at the commit"] == "RemoteEntryNotFoundError"
    assert part["by commit"] == '{"model_type": "bert"}'
    assert part["snapshot at the commit"] == "RevisionNotFoundError"
    _check_clean(cache, true)

    fresh.pull(BERT, include=["vocab.txt"])
    both = python(fresh.depot, tmp_path, _POISON, R=BERT, COMMIT=true)
    assert both["files"] == sorted([*_JSON, "vocab.txt"])
    assert part["sha"] != both["sha"] != true != part["sha"]
    _check_clean(cache, true)

    fresh.pull(BERT)
    whole = python(fresh.depot, tmp_path, _POISON, R=BERT, COMMIT=true)
    assert (whole["sha"], whole["files"]) == (true, sorted(_SIZES))
    assert whole["snapshot at the commit"] == sorted(_SIZES)
    assert whole["missing"] == "RemoteEntryNotFoundError"
    # Of the whole the client may note what is not there.
    assert [path.name for path in (cache / ".no_exist").rglob("*.json")] == ["nope.json"]


_POISON = """
from pathlib import Path
R, COMMIT = given["R"], given["COMMIT"]
def call(function):
    try:
        return function()
    except Exception as error:
        return type(error).__name__
def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in Path(folder).rglob("*") if p.is_file())
print(json.dumps({
    "missing": call(lambda: h.hf_hub_download(R, "nope.json")),
    "missing at the commit": call(lambda: h.hf_hub_download(R, "nope.json", revision=COMMIT)),
    "by commit": call(lambda: Path(h.hf_hub_download(R, "config.json", revision=COMMIT)).read_text()),
    "sha": api.model_info(R).sha,
    "files": files(h.snapshot_download(R)),
    "snapshot at the commit": call(lambda: files(h.snapshot_download(R, revision=COMMIT))),
}))
"""


def _check_clean(cache: Path, true: str) -> None:
    assert not list((cache / ".no_exist").rglob("*.*"))
    assert not (cache / "trees" / f"{true}.json").exists()
    assert not (cache / "snapshots" / true).exists()
    assert (cache / "refs" / "main").read_text() != true


def _asked(kept: Kept) -> list[str]:
    """The paths of all requests for models so far."""
    return [
        line.partition('"path": "')[2].partition('"')[0]
        for line in kept.depot.logs().splitlines()
        if '"answered"' in line and "/ai/" not in line
    ]
