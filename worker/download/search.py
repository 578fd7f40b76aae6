"""Searches the Hub for models by name."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from app.domain.errors import BadRequest
from app.domain.repositories import check_name
from app.domain.told import by_type, gate, member, number, text, weight
from worker.download.hub import Hub
from worker.download.protocol import SearchRequest

_PROPERTIES = ("downloads", "likes", "gated", "lastModified", "safetensors", "gguf", "usedStorage", "pipeline_tag")


def search(hub: Hub, request: SearchRequest) -> Sequence[Mapping[str, Any]]:
    """Return what the Hub finds, as the API tells it; what is no model with a sound name is left out."""
    found = map(_model, hub.search(request.words, request.limit, _PROPERTIES))
    return [model for model in found if model]


def _model(told: Any) -> Mapping[str, Any] | None:
    name = text(member(told, "id"))
    try:
        check_name(name or "")
    except BadRequest:
        return None
    parameters = by_type(member(told.get("safetensors"), "parameters"))
    return {
        "name": name,
        "downloads": number(told.get("downloads")),
        "likes": number(told.get("likes")),
        "size": weight(parameters),
        "stored": number(told.get("usedStorage")),
        "parameters": parameters.total() or number(member(told.get("gguf"), "total")),
        "gated": gate(told.get("gated")),
        "task": text(told.get("pipeline_tag")),
        "updated_at": _time(told.get("lastModified")),
    }


def _time(value: Any) -> str | None:
    """Return an RFC 3339 time, None for anything else."""
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return value if found.tzinfo else None
