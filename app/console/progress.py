"""A model as the pages show it: status, progress and time left."""

from dataclasses import dataclass
from hashlib import blake2s
from uuid import UUID

from app.api.events import ModelState
from app.console.words import duration, size
from app.domain.states import DELETING, PAUSED, ModelStatus
from app.services import updates
from app.services.models import branch_of
from app.services.rows import ModelRecord


@dataclass(frozen=True, slots=True)
class Shown:
    """The data of a model's row and page head. Equal data look the same."""

    id: UUID
    model: ModelRecord
    status: str
    """The model's status, or `deleting`."""
    word: str
    """What its badge says: the word that filters have, too."""
    figures: str
    """Time left, rate and bytes, while downloading; first what a narrow column must not cut off."""
    note: str
    """Why it waits, or why it failed and what to do about it."""
    branch: str
    """The branch, tag or commit that it was asked for by."""
    moved: str
    """That its branch is elsewhere on the Hub, if it is."""
    stage: str
    """When this changes, the whole page is reloaded."""
    digest: str
    """Digest of what is shown, to detect changes."""


def show(state: ModelState) -> Shown | None:
    """Return `None` once the model is gone."""
    model, operation = state.model, state.operation
    if model is None:
        return None
    note = model.message or (operation.message if state.under_way and operation is not None else "")
    status = DELETING if model.deleting else model.status.value
    paused = model.paused and state.under_way and not model.deleting
    work = f"{operation.id} {operation.state}" if operation else "-"
    branch = branch_of(model)
    stage = f"{status} {paused} {model.priority} {model.latest} {work}"
    return Shown(
        id=model.id,
        model=model,
        status=status,
        word=PAUSED if paused else status,
        figures=_figures(model) if status == ModelStatus.DOWNLOADING else "",
        note=note or "",
        branch=branch,
        moved=f"{branch} has moved on the Hub" if updates.is_available(model) else "",
        stage=stage,
        digest=blake2s(f"{stage} {tuple(model)} {note}".encode(), digest_size=6).hexdigest(),
    )


def _figures(model: ModelRecord) -> str:
    if not model.total or model.downloaded is None:
        return ""
    parts = [f"{model.downloaded * 100 // model.total} %"]
    if model.rate and not model.paused:
        left = (model.total - model.downloaded) / model.rate
        parts += [f"{duration(left)} left", f"{size(model.rate)}/s"]
    parts.append(f"{size(model.downloaded)} of {size(model.total)}")
    if (model.files or 0) > 1:
        parts.append(f"{model.files_verified or 0} of {model.files} files")
    return " · ".join(parts)
