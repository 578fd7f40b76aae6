"""The requests of `ollama pull`, in its order and with its headers, and those of older versions of llama.cpp."""

import hashlib
import json
import re
import time
from typing import Any
from urllib.parse import urljoin

import httpx2
import pytest

from app.sealing import Sealer
from tests.depot import SECRET_KEY
from tests.fakehub.hub import Files
from tests.hub_api.conftest import BERT, GGUF, Kept, gguf

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
_ACCEPT = "application/vnd.docker.distribution.manifest.v2+json"


def _manifest(kept: Kept, name: str, tag: str) -> dict[str, Any]:
    answer = kept.get(f"/v2/{name}/manifests/{tag}", Accept=_ACCEPT)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == _ACCEPT
    told: dict[str, Any] = answer.json()
    return told


def _blob(kept: Kept, name: str, digest: str) -> bytes:
    """A blob as Ollama fetches it: HEAD for the size, GET for the place, and ranges of that place without credentials."""
    path = f"/v2/{name}/blobs/{digest}"
    size = int(kept.ask("HEAD", path).headers["content-length"])
    with httpx2.stream("GET", kept.depot.address(path), headers=kept.credentials) as first:
        assert first.status_code == 200
        place = urljoin(kept.depot.address(path), first.headers["location"])
    content = b""
    for start in range(0, size, 3000):
        end = min(start + 3000, size) - 1
        part = httpx2.get(place, headers={"Range": f"bytes={start}-{end}"})
        if part.status_code != 200:  # which is all of it: the small description of a model
            assert part.status_code == 206
            assert part.headers["content-range"] == f"bytes {start}-{end}/{size}"
        content += part.content
    assert len(content) == size
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == digest
    return content


@pytest.mark.parametrize("tag", ["Q4_K_M", "q4_k_m", "latest", "tiny-Q4_K_M.gguf"])
def test_a_pull_gets_the_model_and_its_projector(kept: Kept, tag: str) -> None:
    manifest = _manifest(kept, GGUF, tag)
    assert manifest["schemaVersion"] == 2
    assert {layer["mediaType"]: layer["size"] for layer in manifest["layers"]} == {
        "application/vnd.ollama.image.model": 5000,
        "application/vnd.ollama.image.projector": 700,
    }
    contents = {layer["mediaType"]: _blob(kept, GGUF, layer["digest"]) for layer in manifest["layers"]}
    assert contents["application/vnd.ollama.image.model"] == gguf("llama")
    config = _blob(kept, GGUF, manifest["config"]["digest"])
    assert len(config) == manifest["config"]["size"]
    described = json.loads(config)
    assert (described["model_format"], described["model_family"]) == ("gguf", "llama")
    assert described["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]


def test_another_tag_is_another_file(kept: Kept) -> None:
    assert _manifest(kept, GGUF, "Q8_0")["layers"][0]["size"] == 9000


def test_what_ollama_can_t_pull_is_refused_with_a_sentence(kept: Kept) -> None:
    sharded = kept.get(f"/v2/{GGUF}/manifests/F32")
    assert (sharded.status_code, "in several" in sharded.json()["error"]) == (400, True)
    for name, tag in ((GGUF, "Q2_K"), (BERT, "latest"), ("no/such", "latest")):
        answer = kept.get(f"/v2/{name}/manifests/{tag}")
        assert answer.status_code == 404
        assert "the depot" in answer.json()["error"]
    for digest in ("sha256:" + "0" * 64, "sha256:x", "nonsense", "..%2f..%2fdepot%2fmark"):
        assert kept.get(f"/v2/{GGUF}/blobs/{digest}").status_code == 404


def test_a_link_opens_its_blob_of_its_repository_only_and_not_for_ever(kept: Kept) -> None:
    manifest = _manifest(kept, GGUF, "Q4_K_M")
    digest, other = (layer["digest"] for layer in manifest["layers"])
    place = f"/v2/{GGUF}/blobs/{digest}"
    location = kept.get(place, Range="bytes=0-0").headers["location"]
    assert location.startswith(f"{place}?link=")
    assert httpx2.get(kept.depot.address(location)).content == gguf("llama")
    sealed = location.partition("?")[2]
    sealer = Sealer([SECRET_KEY])
    belongs = f"link to {digest} of {GGUF}"
    old = sealer.seal(str(int(time.time()) - 1), belongs_to=belongs)
    for path in (
        f"/v2/{GGUF}/blobs/{other}?{sealed}",
        f"/v2/{BERT}/blobs/{digest}?{sealed}",
        f"{place}?link=",
        f"{place}?link=nonsense",
        f"{place}?{sealed[:-4]}AAAA",
        f"{place}?link={httpx2.QueryParams({'x': old})['x']}",
    ):
        answer = httpx2.get(kept.depot.address(path))
        assert answer.status_code == 401, path
    # It opens nothing else, and what it opens gives out no further link.
    assert httpx2.get(kept.depot.address(f"/{GGUF}/resolve/main/README.md?{sealed}")).status_code == 401
    assert "location" not in httpx2.get(kept.depot.address(location)).headers


def test_an_older_llama_cpp_is_told_the_file_s_name(kept: Kept) -> None:
    headers = {"User-Agent": "llama-cpp/b4000", "Accept": "application/json"}
    told = kept.ask("GET", f"/v2/{GGUF}/manifests/latest", headers=headers).json()
    assert told == {"ggufFile": {"rfilename": "tiny-Q4_K_M.gguf"}, "mmprojFile": {"rfilename": "mmproj-F16.gguf"}}
    # It takes models in several files.
    sharded = kept.ask("GET", f"/v2/{GGUF}/manifests/F32", headers=headers).json()
    assert re.search("00001-of-00002", sharded["ggufFile"]["rfilename"])


@SQLITE
def test_a_tag_finds_what_the_console_s_lines_name(fresh: Kept) -> None:
    files: Files = {
        "a/mmproj-F16.gguf": b"image",
        "a/m-UD-Q5_K_XL.gguf": b"five",
        "q8_0/m.gguf": b"eight",
        "imatrix.gguf": b"matrix",
        "mtp-m.gguf": b"draft",
    }
    fresh.hub.add("acme/folders", files)
    fresh.pull("acme/folders")
    for tag, sizes in (("latest", [4, 5]), ("Q5_K_XL", [4, 5]), ("UD-Q5_K_XL", [4, 5]), ("q8_0", [5, 5])):
        assert [layer["size"] for layer in _manifest(fresh, "acme/folders", tag)["layers"]] == sizes
    for tag in ("imatrix", "mtp"):
        assert fresh.get(f"/v2/acme/folders/manifests/{tag}").status_code == 404


@SQLITE
def test_what_lies_beside_a_model_for_ollama_is_part_of_it(fresh: Kept) -> None:
    files: Files = {"m.gguf": b"no header", "template": b"{{ .Prompt }}", "params": b"{}", "LICENSE": b"free"}
    fresh.hub.add("acme/with", files)
    fresh.pull("acme/with")
    manifest = _manifest(fresh, "acme/with", "latest")
    kinds = {layer["mediaType"].rpartition(".")[2]: layer["digest"] for layer in manifest["layers"]}
    assert list(kinds) == ["model", "template", "params", "license"]
    assert _blob(fresh, "acme/with", kinds["template"]) == b"{{ .Prompt }}"
    assert json.loads(_blob(fresh, "acme/with", manifest["config"]["digest"]))["model_family"] == "unknown"
