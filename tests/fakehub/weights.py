"""Weights as their formats have them: real heads, and zeros for the numbers."""

import json
import math
import struct
from collections.abc import Mapping, Sequence

_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "I8": 1}
_PAD = 32
_U32, _STRING, _ARRAY = 4, 8, 9
Values = Mapping[str, int | str | Sequence[str]]


def safetensors(tensors: Mapping[str, tuple[str, Sequence[int]]]) -> bytes:
    """A file with these tensors, each (type, shape)."""
    told, end = {}, 0
    for name, (kind, shape) in tensors.items():
        begin, end = end, end + math.prod(shape) * _BYTES[kind]
        told[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [begin, end]}
    head = json.dumps({"__metadata__": {"format": "pt"}, **told}).encode()
    return struct.pack("<Q", len(head)) + head + bytes(end)


def gguf(values: Values, tensors: Mapping[str, Sequence[int]] = {}, size: int = 0, seed: int = 0) -> bytes:
    """A file with these values and shapes of tensors, and `size` bytes of weights that differ by `seed`."""
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(values))
    head += b"".join(_text(name) + _value(value) for name, value in values.items())
    for name, shape in tensors.items():
        head += _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, 0)
    return head + bytes(-len(head) % _PAD) + bytes([seed % 256]) * size


def _value(value: int | str | Sequence[str]) -> bytes:
    match value:
        case int():
            return struct.pack("<II", _U32, value)
        case str():
            return struct.pack("<I", _STRING) + _text(value)
        case _:
            return struct.pack("<IIQ", _ARRAY, _STRING, len(value)) + b"".join(map(_text, value))


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()
