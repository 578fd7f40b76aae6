"""A model as the pages show it: in a word, how far it is, and how long it will take."""

from dataclasses import dataclass
from hashlib import blake2s
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from app.api.events import Seen
from app.console.words import duration, size
from app.domain.states import ModelStatus

DELETING = "deleting"
_IN_WORDS = {
    ModelStatus.CREATING: "waiting",
    ModelStatus.DOWNLOADING: "downloading",
    ModelStatus.READY: "ready",
    ModelStatus.ERROR: "in error",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """What a row and the head of a model's page are made of. Two that are equal look the same."""

    id: UUID
    model: Row[Any]
    status: str
    """The model's, or `deleting`."""
    word: str
    """The same for people."""
    figures: str
    """Bytes, rate and time left, while downloading."""
    note: str
    """Why it waits, or why it failed and what to do about it."""
    stage: str
    """When this changes, all of the model's page does."""
    seen: str
    """Tells it from how it looked before."""


def show(seen: Seen) -> Shown | None:
    """`None` once the model is gone."""
    model, operation = seen.model, seen.operation
    if model is None:
        return None
    note = model.message or (operation.message if seen.under_way and operation is not None else "")
    status = DELETING if model.deleting else model.status.value
    stage = f"{status} {operation.id if operation else '-'} {operation.state if operation else '-'}"
    return Shown(
        id=model.id,
        model=model,
        status=status,
        word=DELETING if model.deleting else _IN_WORDS[model.status],
        figures=_figures(model) if status == ModelStatus.DOWNLOADING else "",
        note=note or "",
        stage=stage,
        seen=blake2s(f"{stage} {tuple(model)} {note}".encode(), digest_size=6).hexdigest(),
    )


def _figures(model: Row[Any]) -> str:
    if not model.total or model.downloaded is None:
        return ""
    parts = [f"{model.downloaded * 100 // model.total} %", f"{size(model.downloaded)} of {size(model.total)}"]
    if (model.files or 0) > 1:
        parts.append(f"{model.files_verified or 0} of {model.files} files")
    if model.rate:
        left = (model.total - model.downloaded) / model.rate
        parts += [f"{size(model.rate)}/s", f"{duration(left)} left"]
    return " · ".join(parts)
