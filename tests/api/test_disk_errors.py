"""A disk that fails in the middle of a file: EIO, from a network file system that has lost some of what was written."""

import http.client
import json
import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.files import Process
from tests.fakehub.certificates import Certificates
from tests.juicefs import two_mounts
from tests.processes import opened, until

_BLOCK = 4 << 20
"""Bytes that JuiceFS keeps in one object of its own."""
_SOUND, _BLOCKS = 3, 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One with a file of which the end can't be read, and one that can. What wrote them has them in a cache of its own."""
    root = tmp_path_factory.mktemp("disk")
    with two_mounts(root, "--io-retries=1") as (one, two):
        (one / "files").mkdir()
        for name in ("broken", "sound"):
            (one / "files" / name).write_bytes(os.urandom(_BLOCKS * _BLOCK))
            if name == "broken":
                for block in range(_SOUND, _BLOCKS):
                    (lost,) = (root / "data").rglob(f"*_{block}_{_BLOCK}")
                    lost.unlink()
        yield two / "files"


@pytest.mark.parametrize("tls", [False, True], ids=["sendfile", "threads"])
def test_a_read_error_closes_the_connection_short_and_is_told(folder: Path, tmp_path: Path, tls: bool) -> None:
    options = ("--certificate", str(Certificates(tmp_path).pem)) if tls else ()
    with Process(folder, *options) as server:
        with pytest.raises(http.client.IncompleteRead) as cut:
            _content(server.port, "broken", tls=tls)
        assert len(cut.value.partial) <= _SOUND * _BLOCK
        told = "a file can't be read to its end"
        until(lambda: told in server.logs(), server.logs)
        (line,) = [json.loads(line) for line in server.logs().splitlines() if told in line]
        assert (line["path"], line["error"]) == ("/broken", os.strerror(5))
        assert len(cut.value.partial) <= line["offset"] <= _SOUND * _BLOCK
        assert _content(server.port, "sound", tls=tls) == (folder / "sound").read_bytes()
        assert not [name for name in opened(server.process.pid) if "files" in name]


def _content(port: int, name: str, *, tls: bool) -> bytes:
    secure = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=ssl._create_unverified_context())
    connection = secure if tls else http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", f"/{name}")
    try:
        return connection.getresponse().read()
    finally:
        connection.close()
