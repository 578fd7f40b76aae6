"""A file's bytes: whole, in ranges, or not again."""

import hashlib
import socket
from pathlib import Path

import pytest

from tests.depot import KEY, SECRET
from tests.fakehub.hub import Synthetic
from tests.hub_api.conftest import BERT, GGUF, WEIGHTS, Kept
from tests.processes import opened

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
BIG = Synthetic(5 << 20, 1)
_BIG = f"/{GGUF}/resolve/main/big.bin"
_PLAIN = b'{"model_type": "bert"}'
_BLOB = hashlib.sha1(b"blob %d\0" % len(_PLAIN) + _PLAIN, usedforsecurity=False).hexdigest()


def test_a_plain_file_has_the_headers_and_the_etag_of_the_hub(kept: Kept) -> None:
    told = {
        "x-repo-commit": kept.commit(BERT),
        "etag": f'"{_BLOB}"',
        "x-linked-etag": f'"{_BLOB}"',
        "x-linked-size": str(len(_PLAIN)),
        "content-length": str(len(_PLAIN)),
        "accept-ranges": "bytes",
        "content-type": "application/octet-stream",
    }
    for method, route in (("GET", "resolve"), ("HEAD", "resolve"), ("GET", "raw"), ("HEAD", "raw")):
        answer = kept.ask(method, f"/{BERT}/{route}/main/config.json", headers={"Accept-Encoding": "gzip"})
        assert answer.status_code == 200
        assert {name: answer.headers[name] for name in told} == told
        assert not {"x-xet-hash", "content-encoding", "location"} & set(answer.headers)
        assert answer.content == (_PLAIN if method == "GET" else b"")


def test_a_file_in_lfs_has_its_sha256_for_an_etag(kept: Kept) -> None:
    answer = kept.get(f"/{BERT}/resolve/main/model.safetensors")
    assert answer.content == WEIGHTS
    assert answer.headers["etag"] == f'"{hashlib.sha256(WEIGHTS).hexdigest()}"'


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-100000", 0, 100_000),
        ("bytes=8-", 8, BIG.size - 1),
        ("bytes=-16", BIG.size - 16, BIG.size - 1),
        ("bytes=-99999999", 0, BIG.size - 1),
        (f"bytes=4194300-{BIG.size * 2}", 4_194_300, BIG.size - 1),
        (f"bytes={BIG.size - 1}-{BIG.size - 1}", BIG.size - 1, BIG.size - 1),
    ],
)
def test_a_range_is_sent(kept: Kept, asked: str, first: int, last: int) -> None:
    answer = kept.get(_BIG, Range=asked)
    assert answer.status_code == 206
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{BIG.size}"
    assert answer.headers["content-length"] == str(last - first + 1)
    assert answer.content == BIG.read(first, last + 1)


@pytest.mark.parametrize("asked", ["bytes=5-2", "bytes=0-1,4-5", "lines=1-2", "bytes=-", "bytes=a-b", "bytes", ""])
def test_what_is_not_one_range_is_all_of_it(kept: Kept, asked: str) -> None:
    answer = kept.get(f"/{BERT}/resolve/main/vocab.txt", Range=asked)
    assert (answer.status_code, answer.content) == (200, b"one\ntwo\n")


@pytest.mark.parametrize("asked", [f"bytes={BIG.size}-", f"bytes={BIG.size + 5}-{BIG.size + 9}", "bytes=-0"])
def test_a_range_behind_the_end_is_refused_with_the_size(kept: Kept, asked: str) -> None:
    answer = kept.get(_BIG, Range=asked)
    assert (answer.status_code, answer.content) == (416, b"")
    assert answer.headers["content-range"] == f"bytes */{BIG.size}"


@pytest.mark.parametrize("asked", ["bytes=0-0", "bytes=0-", "bytes=5-9"])
def test_of_an_empty_file_every_range_is_all_of_it(kept: Kept, asked: str) -> None:
    answer = kept.get(f"/{GGUF}/resolve/main/empty.txt", Range=asked)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-range"] == "bytes */0"
    assert kept.ask("HEAD", f"/{GGUF}/resolve/main/empty.txt").headers["content-length"] == "0"


def test_what_the_client_has_is_not_sent_again(kept: Kept) -> None:
    path = f"/{BERT}/resolve/main/config.json"
    for tags in (f'"{_BLOB}"', f'"other", W/"{_BLOB}"', "*"):
        answer = kept.get(path, If_None_Match=tags)
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["x-repo-commit"] == kept.commit(BERT)
    assert kept.get(path, If_None_Match='"other"').content == _PLAIN


def test_a_range_of_another_version_is_all_of_this_one(kept: Kept) -> None:
    path = f"/{BERT}/resolve/main/config.json"
    assert kept.get(path, Range="bytes=0-1", If_Range='"other"').content == _PLAIN
    assert kept.get(path, Range="bytes=0-1", If_Range=f'"{_BLOB}"').content == _PLAIN[:2]


def test_odd_names_are_found_however_they_are_encoded(kept: Kept) -> None:
    for path in ("onnx/model%20O1%20%5Bx%5D%2B%C3%A9.onnx", "onnx/model%20O1%20[x]+%C3%A9.onnx", "onnx%2Fconfig.json"):
        answer = kept.get(f"/{BERT}/resolve/main/{path}")
        assert answer.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "../config.json",
        "onnx/../config.json",
        "..%2fconfig.json",
        "%2e%2e/%2e%2e/depot/mark",
        "..%2f..%2fdepot%2fmark",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "//config.json",
        "./config.json",
        "config.json/",
        "config.json%00",
        "config.json%00.txt",
        "onnx",
        "%ff%fe",
        "config.json%0d%0aX-Evil:%20yes",
        "nope.json",
    ],
)
def test_a_hostile_path_names_nothing(kept: Kept, path: str) -> None:
    # As it stands: clients of HTTP tidy paths up.
    with socket.create_connection((kept.depot.host, kept.depot.port), timeout=30) as line:
        head = f"GET /{BERT}/resolve/main/{path} HTTP/1.1\r\nHost: depot\r\nConnection: close\r\n"
        line.sendall(f"{head}Authorization: Bearer {KEY}:{SECRET}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: line.recv(65536), b""))
    head, _, body = answer.decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 404")
    assert "\r\nx-error-code: entrynotfound" in head.lower()
    assert "\r\nx-evil" not in head.lower()
    assert '"error"' in body


@SQLITE
def test_what_the_storage_does_not_give_is_said_and_is_no_missing_file(fresh: Kept) -> None:
    model_id = fresh.pull(BERT)
    folder = fresh.depot.storage / "models" / model_id
    path = f"/{BERT}/resolve/main/vocab.txt"
    _replace(folder / "vocab.txt", b"shorter")
    assert _refused(fresh, path) == 503
    (folder / "vocab.txt").unlink()
    assert _refused(fresh, path) == 503
    (folder / "secret.txt").write_text("one\ntwo\n")
    (folder / "vocab.txt").symlink_to("secret.txt")
    assert _refused(fresh, path) == 503
    assert "a kept file can't be read" in fresh.depot.logs()
    # No file is open: each was closed.
    assert fresh.depot.api is not None
    assert not [name for name in opened(fresh.depot.api.pid) if str(folder) in name]


def _refused(kept: Kept, path: str) -> int:
    answer = kept.get(path)
    assert "storage" in answer.headers["x-error-message"]
    assert "x-error-code" not in answer.headers
    return answer.status_code


def _replace(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)
