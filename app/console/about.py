"""What a ready model is, as its own files tell: read once for each commit, since published files don't change."""

import asyncio
import json
from collections import Counter, OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.console import cards
from app.depot.volume import Volume
from app.domain import configurations, gguf, heads
from app.domain.cards import split
from app.domain.heads import Gguf, Incomplete
from app.domain.told import number
from app.services.rows import ModelRecord

ENDINGS = (".gguf", ".safetensors", "config.json", "README.md")
"""Endings of the files that are read."""
_REMEMBERED = 200
"""Models."""
_MOST_FILES = 16
"""Safetensors files whose parameters are counted; of more, nothing is told."""
_HEAD, _LONGEST_HEAD = 1 << 20, 1 << 23
_LONGEST_CONFIG, _LONGEST_CARD = 1 << 20, 4 * cards.LONGEST
_LONGEST_NAME = 200
"""Characters."""


@dataclass(frozen=True, slots=True)
class About:
    """What is None is not told. `card` is HTML that is safe in a page."""

    architecture: str | None
    parameters: int | None
    quantization: str | None
    context: int | None
    formats: Sequence[str]
    facts: Mapping[str, str]
    """Of the card: `license`, `license_name`, `base_model`, `library_name` …"""
    card: str | None
    has_more: bool
    """Whether the card is longer than what is shown of it."""
    is_whole: bool
    """Whether all that was to be read could be."""


class Abouts:
    """Reads them, and keeps those that were looked at last."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[UUID, str | None], About] = OrderedDict()

    async def of(self, volume: Volume, model: ModelRecord, paths: Sequence[str], page: str) -> About:
        """Return what the files of a ready model tell, those at `paths`. `page`: the model's page on the Hub."""
        key = model.id, model.commit
        found = self._known.pop(key, None) or await _read(volume, model, paths, page)
        if found.is_whole:
            self._known[key] = found
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return found


async def _read(volume: Volume, model: ModelRecord, paths: Sequence[str], page: str) -> About:
    variants = gguf.variants((path, 0) for path in paths)  # nothing depends on a size
    weights = [path for path in paths if path.endswith(".safetensors")]

    reader = _Reader(volume, model.id, frozenset(paths))
    config_file, card_file, head, counts = await asyncio.gather(
        reader.read("config.json", _LONGEST_CONFIG),
        reader.read("README.md", _LONGEST_CARD),
        reader.read(variants[0].path if variants else "", _LONGEST_HEAD),
        _count(reader, weights),
    )
    config, told = _json(config_file), _gguf(head)
    facts, card = split(card_file.decode(errors="replace"))
    shown = cards.beginning(card)
    base = f"{page}/blob/{model.commit}/"
    quantizations = {variant.quantization for variant in variants if variant.quantization}
    return About(
        architecture=_short(configurations.architecture(config)) or told.architecture,
        parameters=counts or told.parameters,
        quantization=", ".join(sorted(quantizations)) or _short(configurations.quantization(config)),
        context=number(told.context_length) or configurations.context_length(config),
        formats=[name for name, there in (("safetensors", weights), ("GGUF", variants)) if there],
        facts=facts,
        card=await asyncio.to_thread(cards.render, shown, base) if card.strip() else None,
        has_more=len(shown) < len(card) or len(card_file) == _LONGEST_CARD,
        is_whole=not reader.failed,
    )


class _Reader:
    """Reads the beginnings of a model's files. `failed`: whether one could not be read."""

    def __init__(self, volume: Volume, model_id: UUID, paths: Collection[str]) -> None:
        self._volume, self._model_id, self._paths = volume, model_id, paths
        self.failed = False

    async def read(self, path: str, most: int) -> bytes:
        """Return nothing of a file that is not there, or can't be read now."""
        data = await self._volume.read(self._model_id, path, most) if path in self._paths else b""
        self.failed |= data is None
        return data or b""


async def _count(reader: _Reader, paths: Sequence[str]) -> int | None:
    """Return the number of parameters in safetensors files, None unless all of them tell."""
    if not 0 < len(paths) <= _MOST_FILES:
        return None
    counted = await asyncio.gather(*(_parameters(reader, path) for path in paths))
    return sum((one.total() for one in counted if one), 0) if all(counted) else None


async def _parameters(reader: _Reader, path: str) -> Counter[str] | None:
    try:
        data = await reader.read(path, _HEAD)
        if len(data) < (size := heads.safetensors_size(data)) <= _LONGEST_HEAD:
            data = await reader.read(path, size)
        return heads.safetensors_parameters(data)
    except (Incomplete, ValueError):
        return None


def _gguf(data: bytes) -> Gguf:
    try:
        return heads.gguf(data)
    except ValueError:
        return Gguf()


def _json(data: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _short(told: str | None) -> str | None:
    return told and told[:_LONGEST_NAME]
