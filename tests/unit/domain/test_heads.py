"""What weight files say in their first bytes, of whole files, cut ones and nonsense."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import heads
from tests.fakehub.weights import Values, gguf, safetensors

WEIGHTS = safetensors({"a": ("BF16", (3, 4)), "b": ("F32", (5,)), "c": ("BF16", ())})
VALUES: Values = {
    "general.architecture": "llama",
    "llama.context_length": 8192,
    "tokenizer.ggml.tokens": ["<s>", "a"],
    "n": 1,
}
MODEL = gguf(VALUES, {"w": (10, 20), "b": (7,)}, size=100)


def test_parameters_of_safetensors_are_counted_by_type() -> None:
    assert heads.safetensors_parameters(WEIGHTS) == {"BF16": 13, "F32": 5}
    size = heads.safetensors_size(WEIGHTS[:100])
    assert heads.safetensors_parameters(WEIGHTS[:size]) == {"BF16": 13, "F32": 5}
    with pytest.raises(heads.Incomplete):
        heads.safetensors_parameters(WEIGHTS[: size - 1])


def test_gguf_tells_its_architecture_and_context_and_all_of_its_head_its_parameters() -> None:
    found = heads.gguf(MODEL)
    assert (found.architecture, found.context_length, found.parameters) == ("llama", 8192, 207)
    assert "tokenizer.ggml.tokens" not in found.values
    cut = heads.gguf(MODEL[:150])
    assert (cut.architecture, cut.context_length, cut.parameters) == ("llama", 8192, None)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GGUF",
        b"GGML" + MODEL[4:],
        struct.pack("<4sIQQ", b"GGUF", 1, 0, 0),
        struct.pack("<4sIQQ", b"FUGG", 3, 0, 0),
        struct.pack("<4sIQQQI", b"GGUF", 3, 0, 1, 0, 99),
        struct.pack("<4sIQQQII", b"GGUF", 3, 1, 0, 0, 9, 0),
        struct.pack("<4sIQQQIIQ", b"GGUF", 3, 0, 1, 0, 9, 9, 1),
    ],
)
def test_what_is_no_gguf_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not GGUF"):
        heads.gguf(data)


@pytest.mark.parametrize(
    "head", [b"[]", b'{"a": 1}', b'{"a": {"dtype": "F32", "shape": [-1]}}', b'{"a": {"shape": []}}', b"{" * 5000]
)
def test_what_is_no_safetensors_is_refused(head: bytes) -> None:
    with pytest.raises(ValueError, match="not safetensors"):
        heads.safetensors_parameters(struct.pack("<Q", len(head)) + head)


@given(st.sampled_from([WEIGHTS, MODEL]), st.integers(0, 400), st.binary(max_size=12), st.integers(0, 600))
def test_nothing_else_is_raised_whatever_the_bytes_are(data: bytes, at: int, other: bytes, length: int) -> None:
    changed = (data[:at] + other + data[at + len(other) :])[:length]
    with suppress(ValueError, heads.Incomplete):
        heads.safetensors_parameters(changed)
    with suppress(ValueError):
        heads.gguf(changed)
