"""Reads what a model is from its config.json, which strangers wrote: None for what it does not tell."""

from typing import Any

from app.domain.told import member, number, text

_CONTEXT = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "seq_length", "n_ctx")
"""What configurations call the context's length."""


def architecture(config: Any) -> str | None:
    """Return the name of the model's class, or of its family."""
    names = member(config, "architectures")
    first = text(names[0]) if isinstance(names, list) and names else None
    return first or text(member(config, "model_type"))


def context_length(config: Any) -> int | None:
    """Return the context's length, which models of several kinds of input have in the part for text."""
    for part in (config, member(config, "text_config"), member(config, "llm_config")):
        for name in _CONTEXT:
            if found := number(member(part, name)):
                return found
    return None


def quantization(config: Any) -> str | None:
    """Return the method by which the weights were quantized."""
    return text(member(member(config, "quantization_config"), "quant_method"))
