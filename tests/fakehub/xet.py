"""Xet as the Hub hands it out: a store that the real hf_xet filled, and how files are put together from it.

A file is a row of terms, each a run of chunks in a xorb; a shard says which. Only what a download needs is read here,
in the layout of huggingface.co/docs/xet.
"""

import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from tests.fakehub.content import Content, File

_BLOCK = 48
"""Bytes of the header and of every entry of a shard."""
_BOOKEND = b"\xff" * 32
_VERIFIED, _WITH_METADATA = 1 << 31, 1 << 30
_UPLOADER = """
import sys, hf_xet
with hf_xet.XetSession().new_upload_commit(endpoint=sys.argv[1]) as commit:
    stream = commit.start_upload_stream()
    while block := sys.stdin.buffer.read(1 << 20):
        stream.write(block)
    uploaded = stream.finish()
print(uploaded.xet_info.hash)
"""


class Term(NamedTuple):
    xorb: str
    length: int
    first: int
    end: int


class Chunks(NamedTuple):
    """Those of a xorb: where each begins in it, and at last where the last one ends; their lengths once unpacked."""

    starts: list[int]
    lengths: list[int]


class XetStore:
    """A folder of xorbs and shards, made with the first file and removed with `close`."""

    def __init__(self) -> None:
        self.token_seconds = 3600
        """How long the tokens that are given out from now on are good for."""
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._hashes: dict[str, str] = {}
        self._files: dict[str, list[Term]] = {}
        self._xorbs: dict[str, File] = {}
        self._chunks_of: dict[str, Chunks] = {}
        self._lock = threading.Lock()

    def keep(self, content: Content) -> str:
        """The content's Xet hash, once the store has it: for real cut into chunks, packed, and indexed."""
        with self._lock:
            if content.sha256 not in self._hashes:
                root = self._root()
                self._hashes[content.sha256] = _upload(content, root)
                for shard in (root / "xet/xorbs/shards").glob("*.mdb"):
                    self._files.update(_files(shard.read_bytes()))
            return self._hashes[content.sha256]

    def access(self, cas: str) -> dict[str, str]:
        """The headers that give a client the way to the store, and a token for it."""
        expires = str(int(time.time()) + self.token_seconds)
        return {"X-Xet-Cas-Url": cas, "X-Xet-Access-Token": f"xet-{expires}", "X-Xet-Token-Expiration": expires}

    def lets_in(self, authorization: str | None) -> bool:
        """Whether this is a token that was given out, and is still good."""
        expires = (authorization or "").removeprefix("Bearer xet-")
        return expires.isdigit() and int(expires) > time.time()

    def xorb(self, name: str) -> File:
        with self._lock:
            if name not in self._xorbs:
                self._xorbs[name] = File(self._root() / "xet/xorbs/xorbs" / f"default.{name}")
            return self._xorbs[name]

    def size(self, file: str) -> int | None:
        return sum(term.length for term in self._files[file]) if file in self._files else None

    def reconstruction(self, file: str, start: int, stop: int, link: Callable[[str], str]) -> dict[str, Any]:
        """How to put together these bytes of a file; `link` gives the address of a xorb."""
        needed: list[Term] = []
        position = skip = 0
        for whole in self._files[file]:
            if position < stop and position + whole.length > start:
                before, term = self._narrowed(whole, start - position, stop - position)
                skip = skip if needed else start - position - before
                needed.append(term)
            position += whole.length
        by_xorb = groupby(sorted(needed), key=lambda term: term.xorb)
        fetch = {name: [self._fetch(name, list(terms), link)] for name, terms in by_xorb}
        terms = [
            {"hash": term.xorb, "unpacked_length": term.length, "range": {"start": term.first, "end": term.end}}
            for term in needed
        ]
        return {"offset_into_first_range": skip, "terms": terms, "fetch_info": fetch}

    def close(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def _narrowed(self, term: Term, start: int, stop: int) -> tuple[int, Term]:
        """The chunks of a term that have any of these bytes of it, and how many bytes of the term come before them."""
        lengths = self._chunks(term.xorb).lengths
        first, end, before, length = term.first, term.end, 0, term.length
        while before + lengths[first] <= start:
            before, length, first = before + lengths[first], length - lengths[first], first + 1
        while before + length - lengths[end - 1] >= stop:
            length, end = length - lengths[end - 1], end - 1
        return before, Term(term.xorb, length, first, end)

    def _fetch(self, name: str, terms: list[Term], link: Callable[[str], str]) -> dict[str, Any]:
        """One stretch of a xorb with all chunks that these terms have in it."""
        first, end = min(term.first for term in terms), max(term.end for term in terms)
        starts = self._chunks(name).starts
        return {
            "range": {"start": first, "end": end},
            "url": link(name),
            "url_range": {"start": starts[first], "end": starts[end] - 1},
        }

    def _chunks(self, name: str) -> "Chunks":
        if name not in self._chunks_of:
            self._chunks_of[name] = _read_chunks(self.xorb(name))
        return self._chunks_of[name]

    def _root(self) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="xet-")
        return Path(self._folder.name).resolve()


def _upload(content: Content, root: Path) -> str:
    """In a process of its own: hf_xet starts threads that outlive their work, and logs to its user's home."""
    command = [sys.executable, "-c", _UPLOADER, f"local://{root}"]
    home = os.environ | {"HF_HOME": str(root)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=home) as uploader:
        assert uploader.stdin
        assert uploader.stdout
        for block in content.blocks(0, content.size):
            uploader.stdin.write(block)
        uploader.stdin.close()
        return uploader.stdout.read().decode().strip()


def _files(shard: bytes) -> Iterator[tuple[str, list[Term]]]:
    position = _BLOCK
    while shard[position : position + 32] != _BOOKEND:
        file = _hash(shard, position)
        flags, count = struct.unpack_from("<2I", shard, position + 32)
        entries = range(position + _BLOCK, position + _BLOCK * (1 + count), _BLOCK)
        yield file, [Term(_hash(shard, at), *struct.unpack_from("<3I", shard, at + 36)) for at in entries]
        following = count * (2 if flags & _VERIFIED else 1) + (1 if flags & _WITH_METADATA else 0)
        position += _BLOCK * (1 + following)


def _hash(data: bytes, position: int) -> str:
    """As hf_xet writes it: four numbers, each the other way round than its bytes are stored."""
    return "".join(f"{number:016x}" for number in struct.unpack_from("<4Q", data, position))


def _read_chunks(xorb: File) -> Chunks:
    starts, lengths = [0], []
    with xorb.path.open("rb") as file:
        while starts[-1] < xorb.size:
            file.seek(starts[-1])
            header = file.read(8)  # version, three bytes of length as stored, compression, three of length
            if header.startswith(b"XETBLOB"):  # chunks end: the footer follows
                break
            starts.append(starts[-1] + len(header) + int.from_bytes(header[1:4], "little"))
            lengths.append(int.from_bytes(header[5:8], "little"))
    return Chunks(starts, lengths)
