"""Files of a model in a bucket by signed addresses: read by whoever has these, in ranges, and only for a while."""

import json
import struct
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx2
import numpy as np
import pytest
from safetensors.numpy import load, save

from tests.buckets import Place
from tests.by_hand import Api
from tests.conftest import STORES, migrated
from tests.published import Shelf, on_a_shelf
from tests.servers import Redis

NAME = "acme/tiny"
_TENSORS: dict[str, np.ndarray[Any, Any]] = {
    "first": np.arange(6, dtype=np.float32),
    "second": np.arange(20, dtype=np.int64).reshape(4, 5),
}
FILES = {
    "config.json": b"{}",
    "odd name [x]+\u00e9.txt": b"odd",
    "empty.txt": b"",
    "model.safetensors": save(_TENSORS),
}


@pytest.fixture(scope="module", params=STORES)
def shelf(
    request: pytest.FixtureRequest, redis_server: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shelf]:
    place: Place = request.getfixturevalue(request.param).place()
    folder = tmp_path_factory.mktemp("shelf")
    request.param = "sqlite"
    with on_a_shelf(place, folder, migrated(request, folder), redis_server.url, NAME, FILES) as shelf:
        yield shelf


def _files(shelf: Shelf) -> dict[str, dict[str, Any]]:
    answer = shelf.get(f"/v2/ai/model/{shelf.model_id}/files?urls=1")
    assert answer.status_code == 200, answer.text
    return {file["path"]: file for file in answer.json()["files"]}


def _range(address: str, start: int, end: int) -> bytes:
    answer = httpx2.get(address, headers={"Range": f"bytes={start}-{end - 1}"})
    assert answer.status_code == 206
    return answer.content


def test_each_file_has_an_address_beside_what_it_had(shelf: Shelf) -> None:
    plain = shelf.get(f"/v2/ai/model/{shelf.model_id}/files").json()["files"]
    signed = _files(shelf)
    assert [{name: file[name] for name in ("path", "size", "sha256")} for file in signed.values()] == plain
    for path, file in signed.items():
        assert httpx2.get(file["url"]).content == FILES[path]
        left = datetime.fromisoformat(file["url-expires-at"]) - datetime.now(UTC)
        assert 3000 < left.total_seconds() <= 3600
        assert httpx2.get(file["url"].replace("X-Amz-Signature=", "X-Amz-Signature=0")).status_code == 403
    assert "Signature" not in shelf.depot.logs()


def test_one_tensor_is_read_through_it(shelf: Shelf) -> None:
    address = _files(shelf)["model.safetensors"]["url"]
    (length,) = struct.unpack("<Q", _range(address, 0, 8))
    head = json.loads(_range(address, 8, 8 + length))
    start, end = head["second"]["data_offsets"]
    data = _range(address, 8 + length + start, 8 + length + end)
    only = json.dumps({"second": head["second"] | {"data_offsets": [0, len(data)]}}).encode()
    tensor = load(struct.pack("<Q", len(only)) + only + data)["second"]
    assert np.array_equal(tensor, _TENSORS["second"])


def test_curl_reads_through_it(shelf: Shelf) -> None:
    address = _files(shelf)["odd name [x]+\u00e9.txt"]["url"]
    out = subprocess.run(["curl", "-sfg", "-r", "1-", address], capture_output=True, check=True, timeout=60)
    assert out.stdout == b"dd"


def test_who_may_not_list_the_files_gets_no_addresses(shelf: Shelf) -> None:
    address = shelf.depot.address(f"/v2/ai/model/{shelf.model_id}/files?urls=1")
    assert httpx2.get(address).status_code == 401


def test_other_models_have_no_addresses(api: Api) -> None:
    in_a_folder = api.ask("GET", f"/ai/model/{api.ready_model()}/files?urls=1")
    assert (in_a_folder.status_code, "bucket" in in_a_folder.json()["message"]) == (409, True)
    operation = api.ask("POST", "/ai/model", json={"name": "acme/arriving"}).json()
    assert api.ask("GET", f"/ai/model/{operation['reference']['id']}/files?urls=1").status_code == 409
    assert api.ask("GET", "/ai/model/00000000-0000-0000-0000-000000000000/files?urls=1").status_code == 404
