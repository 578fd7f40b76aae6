"""A model as the pages show it: in a word, how far it is, and how long it will take."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from app.api.events import Seen
from app.console.words import duration, size
from app.domain.commands import Command
from app.domain.states import ModelStatus

DELETING, GONE = "deleting", "gone"
IN_WORDS = {
    ModelStatus.CREATING: "waiting",
    ModelStatus.DOWNLOADING: "downloading",
    ModelStatus.READY: "ready",
    ModelStatus.ERROR: "in error",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """What a row and the head of a model's page are made of."""

    id: UUID
    model: Row[Any] | None
    """`None` once it is gone."""
    status: str
    """The model's, or `deleting` or `gone`."""
    word: str
    """The same for people."""
    selection: str
    """Which revision and which files, unless it is everything of `main`."""
    figures: str
    """Bytes, rate and time left, while downloading."""
    note: str
    """Why it waits, or why it failed and what to do about it."""
    stage: str
    """When this changes, all of the model's page does."""


def show(model_id: UUID, seen: Seen) -> Shown:
    model, operation = seen.model, seen.operation
    if model is None:
        return Shown(model_id, None, GONE, GONE, "", "", "", GONE)
    deleting = seen.under_way and operation is not None and operation.command == Command.DELETE_MODEL
    status = DELETING if deleting else model.status.value
    waits = operation.message if seen.under_way and operation is not None else None
    return Shown(
        id=model_id,
        model=model,
        status=status,
        word=DELETING if deleting else IN_WORDS[model.status],
        selection=_selection(model),
        figures=_figures(model) if status == ModelStatus.DOWNLOADING else "",
        note=waits or model.message or "",
        stage=f"{status} {operation.id} {operation.state}" if operation else status,
    )


def _selection(model: Row[Any]) -> str:
    parts = [] if model.revision == "main" else [f"at {model.revision}"]
    parts += [f"only {' '.join(model.include)}"] if model.include else []
    parts += [f"without {' '.join(model.exclude)}"] if model.exclude else []
    return " · ".join(parts)


def _figures(model: Row[Any]) -> str:
    if not model.total or model.downloaded is None:
        return ""
    parts = [f"{model.downloaded * 100 // model.total} %", f"{size(model.downloaded)} of {size(model.total)}"]
    if model.rate:
        left = (model.total - model.downloaded) / model.rate
        parts += [f"{size(model.rate)}/s", f"{duration(left)} left"]
    return " · ".join(parts)
