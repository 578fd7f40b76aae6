"""Reads what weight files say in their first bytes: the parameters of safetensors, the description of GGUF."""

import json
import math
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_MOST = 1 << 53
"""Larger counts are no numbers of parameters, and JSON's readers lose digits of them."""
_LENGTH = struct.Struct("<Q")
_GGUF = struct.Struct("<4sIQQ")
"""Magic, version, number of tensors, number of keys."""
_SCALARS: Mapping[int, str] = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
"""GGUF's types of values, as `struct` calls them."""
_STRING, _ARRAY = 8, 9
_MOST_DIMENSIONS = 8


class Incomplete(Exception):
    """What is wanted begins or ends behind the bytes that are there."""


def safetensors_size(data: bytes) -> int:
    """Return the length of the head of a safetensors file. Raises `Incomplete`, or `ValueError` if it is none."""
    if len(data) < _LENGTH.size:
        raise Incomplete
    size = _LENGTH.size + int(_LENGTH.unpack_from(data)[0])
    if data[_LENGTH.size : _LENGTH.size + 1] not in {b"{", b""}:
        raise ValueError("not safetensors")
    return size


def safetensors_parameters(data: bytes) -> Counter[str]:
    """Return the number of parameters by type (`BF16`). Raises `Incomplete`, or `ValueError` if it is no safetensors."""
    size = safetensors_size(data)
    if len(data) < size:
        raise Incomplete
    try:
        told = json.loads(data[_LENGTH.size : size])
        counts: Counter[str] = Counter()
        for name, tensor in told.items():
            if name != "__metadata__":
                counts[str(tensor["dtype"])[:16]] += math.prod(map(int, tensor["shape"]))
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
        raise ValueError("not safetensors") from None
    if any(not 0 <= count < _MOST for count in counts.values()):
        raise ValueError("not safetensors")
    return counts


@dataclass(slots=True)
class Gguf:
    """What a GGUF file says: its single values, and its parameters if all of its head was there."""

    values: dict[str, Any] = field(default_factory=dict)
    parameters: int | None = None

    @property
    def architecture(self) -> str | None:
        found = self.values.get("general.architecture")
        return found if isinstance(found, str) else None

    @property
    def context_length(self) -> Any:
        return self.values.get(f"{self.architecture}.context_length")


def gguf(data: bytes) -> Gguf:
    """Return what the bytes that are there say. Raises `ValueError` if it is no GGUF, of version 2 or later."""
    if len(data) < _GGUF.size:
        raise ValueError("not GGUF")
    magic, version, tensors, keys = _GGUF.unpack_from(data)
    if magic != b"GGUF" or not 2 <= version < 1 << 16:
        raise ValueError("not GGUF")
    found, reader = Gguf(), _Reader(data, _GGUF.size)
    try:
        for _ in range(keys):
            key = reader.text()
            value = reader.value(reader.scalar("I"))
            if value is not None:
                found.values[key] = value
        found.parameters = _parameters(reader, tensors)
    except Incomplete:
        pass
    return found


def _parameters(reader: "_Reader", tensors: int) -> int | None:
    count = 0
    for _ in range(tensors):
        reader.text()
        dimensions = reader.scalar("I")
        if dimensions > _MOST_DIMENSIONS:
            raise ValueError("not GGUF")
        count += math.prod(reader.scalar("Q") for _ in range(dimensions))
        reader.skip(12)  # its type and its place
    return count if count < _MOST else None


class _Reader:
    """Reads values one after the other. All methods raise `Incomplete` at the end of the bytes."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data, self._position = data, position

    def skip(self, size: int) -> int:
        """Return the position of the next `size` bytes, and step over them."""
        start = self._position
        if start + size > len(self._data):
            raise Incomplete
        self._position += size
        return start

    def scalar(self, kind: str) -> Any:
        return struct.unpack_from(f"<{kind}", self._data, self.skip(struct.calcsize(f"<{kind}")))[0]

    def text(self) -> str:
        size = self.scalar("Q")
        start = self.skip(size)
        return self._data[start : start + size].decode(errors="replace")

    def value(self, kind: int) -> Any:
        """Return a value of that type; None for an array, which is stepped over."""
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            inner, count = self.scalar("I"), self.scalar("Q")
            if inner == _STRING:
                for _ in range(count):
                    self.skip(self.scalar("Q"))
            else:
                self.skip(count * struct.calcsize(f"<{_kind(inner)}"))
            return None
        return self.scalar(_kind(kind))


def _kind(kind: int) -> str:
    if kind not in _SCALARS:
        raise ValueError("not GGUF")
    return _SCALARS[kind]
