"""Checksums as Git and LFS compute them."""

import hashlib
from io import BytesIO

import pytest

from worker.download.checksums import Checksum, verify
from worker.download.listing import HubFile

HELLO = "ce013625030ba8dba906f756967f9e9ca394464a"
"""`git hash-object` of `hello` and a newline."""


def test_a_small_file_is_checked_by_gits_blob_id() -> None:
    sha256 = hashlib.sha256(b"hello\n").hexdigest()
    assert verify(HubFile("hello", 6, HELLO, None), BytesIO(b"hello\n")) == sha256
    assert verify(HubFile("hello", 6, HELLO[::-1], None), BytesIO(b"hello\n")) is None


@pytest.mark.parametrize(("size", "content"), [(6, b"hello\n"), (0, b"")])
def test_a_large_file_is_checked_by_its_sha256_whatever_its_blob_id(size: int, content: bytes) -> None:
    checksum = Checksum(HubFile("hello", size, "0" * 40, hashlib.sha256(content).hexdigest()))
    checksum.update(content)
    assert checksum.matches()
    checksum.update(b"!")
    assert not checksum.matches()


@pytest.mark.parametrize("size", [5, 7])
def test_a_file_of_another_length_is_not_even_read(size: int) -> None:
    assert verify(HubFile("hello", size, HELLO, None), BytesIO(b"hello\n")) is None
