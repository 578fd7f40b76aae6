"""Checksums whose state can be saved, and restored by another process, which `hashlib` can't do.

They use OpenSSL's SHA256_* and SHA1_* functions, in the library that Python's own hashlib is linked with: as fast, and
without the interpreter's lock too. A Python without that library can't save a state.
"""

import _hashlib
import ctypes
import hashlib
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple

from worker.download.checksums import Checksum
from worker.download.listing import HubFile


class _Kind(NamedTuple):
    """An algorithm by OpenSSL's name, and the bytes of its state (`SHA256_CTX`, `SHA_CTX`) and of its digest."""

    name: str
    state: int
    digest: int


_SHA256, _SHA1 = _Kind("SHA256", 112, 32), _Kind("SHA1", 96, 20)


class ResumableChecksum(Checksum):
    """A `Checksum` that goes on from `state`, that of an earlier one of the same file; empty: from the beginning."""

    def __init__(self, file: HubFile, state: bytes = b"") -> None:
        super().__init__(file)
        self._saved = [_Digest(_SHA256)] if file.sha256 else [_Digest(_SHA256), _Digest(_SHA1)]
        self._sha256 = self._saved[0]
        if not file.sha256:
            self._git = self._saved[1]
            self._git.update(self._header)
        for digest in self._saved if state else ():
            digest.state, state = state[: digest.kind.state], state[digest.kind.state :]

    @property
    def state(self) -> bytes:
        return b"".join(digest.state for digest in self._saved)

    @staticmethod
    def goes_on(file: HubFile, state: bytes) -> bool:
        """Whether a state can be restored here."""
        return is_possible() and len(state) == _SHA256.state + (0 if file.sha256 else _SHA1.state)


class _Digest:
    """One algorithm. Its `state` is that of the bytes so far."""

    def __init__(self, kind: _Kind) -> None:
        self.kind = kind
        self._context = ctypes.create_string_buffer(kind.state)
        _call(kind, "Init", self._context)

    @property
    def state(self) -> bytes:
        return self._context.raw

    @state.setter
    def state(self, state: bytes) -> None:
        self._context.raw = state

    def update(self, data: bytes | memoryview) -> None:
        # The functions take an address; that of bytes is known to ctypes, that of a writable view is asked for.
        start = data if isinstance(data, bytes) else (ctypes.c_char * len(data)).from_buffer(data)
        _call(self.kind, "Update", self._context, start, ctypes.c_size_t(len(data)))

    def hexdigest(self) -> str:
        digest, context = ctypes.create_string_buffer(self.kind.digest), ctypes.create_string_buffer(self.kind.state)
        context.raw = self.state
        _call(self.kind, "Final", digest, context)
        return digest.raw.hex()


@cache
def is_possible() -> bool:
    """Whether states can be saved here. It is tried, as nobody promises what a state is made of."""
    data = b"modeldepot" * 100
    with suppress(AttributeError, OSError):
        for kind in (_SHA256, _SHA1):
            first, second = _Digest(kind), _Digest(kind)
            first.update(data[:333])
            second.state = first.state
            second.update(memoryview(bytearray(data[333:])))
            if second.hexdigest() != hashlib.new(kind.name, data, usedforsecurity=False).hexdigest():
                return False
        return True
    return False


@cache
def _library() -> ctypes.CDLL:
    """Return the library of Python's hashlib: the symbols of what a module is linked with are found through it."""
    return ctypes.CDLL(_hashlib.__file__)


def _call(kind: _Kind, function: str, *arguments: Any) -> None:
    if getattr(_library(), f"{kind.name}_{function}")(*arguments) != 1:
        raise OSError(f"OpenSSL's {kind.name}_{function} failed")
