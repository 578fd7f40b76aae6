"""Takes only what is sound from the Hub's descriptions of models, which their owners write."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

_MOST = 1 << 53
"""JSON's readers lose digits of larger numbers."""
_LONGEST_TEXT = 1000
_MOST_TYPES = 32
_BITS: Mapping[str, int] = {
    "F64": 64, "I64": 64, "U64": 64, "C64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16, "U16": 16,
    "I8": 8, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
"""Of a parameter, by its type in safetensors."""


def text(value: Any) -> str | None:
    """Return a line of text, None for anything else."""
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST_TEXT and value.isprintable() else None


def number(value: Any) -> int | None:
    """Return a count, None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST else None


def gate(value: Any) -> str | None:
    """Return how access to a gated repository is granted, `auto` or `manual`; None if it is not gated."""
    return value if value in ("auto", "manual") else None  # a list can't be looked for in a set


def member(value: Any, name: str) -> Any:
    """Return an object's value of that name, None if it is no object or has none."""
    return value.get(name) if isinstance(value, Mapping) else None


def by_type(value: Any) -> Counter[str]:
    """Return parameters by type, as far as they are sound."""
    pairs = value.items() if isinstance(value, Mapping) and len(value) <= _MOST_TYPES else ()
    return Counter({text(name) or "": count for name, given in pairs if (count := number(given)) and text(name)})


def weight(parameters: Counter[str]) -> int | None:
    """Return the bytes of parameters; None if there are none, or of a type that is not known."""
    if not parameters or parameters.keys() - _BITS.keys():
        return None
    return sum(-(-count * _BITS[kind] // 8) for kind, count in parameters.items())
