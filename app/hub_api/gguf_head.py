"""Reads what a GGUF file says first: its architecture."""

import struct

from app.storage.base import OpenFile

_HEAD = struct.Struct("<4sIQQQ")
"""Magic, version, number of tensors, number of keys, length of the first key."""
_KEY = b"general.architecture"
_STRING = 8
"""The type of a text."""
_LONGEST = 64


def architecture(file: OpenFile) -> str | None:
    """Return the architecture, such as `llama`; None if the file does not begin with it. Raises `OSError`."""
    head = file.read(0, _HEAD.size + len(_KEY) + 12 + _LONGEST)
    if len(head) < _HEAD.size + len(_KEY) + 12:
        return None
    magic, _, _, _, length = _HEAD.unpack_from(head)
    kind, size = struct.unpack_from("<IQ", head, _HEAD.size + len(_KEY))
    if (magic, length, kind) != (b"GGUF", len(_KEY), _STRING) or not 0 < size <= _LONGEST:
        return None
    if head[_HEAD.size : _HEAD.size + len(_KEY)] != _KEY:
        return None
    text = head[_HEAD.size + len(_KEY) + 12 :][:size].decode("ascii", "replace")
    return text if text.isprintable() and len(text) == size else None
