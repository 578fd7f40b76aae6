"""Checksums as Git and LFS compute them."""

import hashlib
from pathlib import Path

import pytest

from worker.download.checksums import Checksum, verify
from worker.download.listing import HubFile

HELLO = "ce013625030ba8dba906f756967f9e9ca394464a"
"""`git hash-object` of `hello` and a newline."""


def test_a_small_file_is_checked_by_gits_blob_id(tmp_path: Path) -> None:
    (tmp_path / "hello").write_bytes(b"hello\n")
    sha256 = hashlib.sha256(b"hello\n").hexdigest()
    assert verify(HubFile("hello", 6, HELLO, None), tmp_path / "hello") == sha256
    assert verify(HubFile("hello", 6, HELLO[::-1], None), tmp_path / "hello") is None


@pytest.mark.parametrize(("size", "content"), [(6, b"hello\n"), (0, b"")])
def test_a_large_file_is_checked_by_its_sha256_whatever_its_blob_id(size: int, content: bytes) -> None:
    checksum = Checksum(HubFile("hello", size, "0" * 40, hashlib.sha256(content).hexdigest()))
    checksum.update(content)
    assert checksum.matches()
    checksum.update(b"!")
    assert not checksum.matches()


@pytest.mark.parametrize("size", [5, 7])
def test_a_file_of_another_length_is_not_even_read(tmp_path: Path, size: int) -> None:
    (tmp_path / "hello").write_bytes(b"hello\n")
    assert verify(HubFile("hello", size, HELLO, None), tmp_path / "hello") is None
