"""What was pulled: counted in the models' rows, of which clients see when, how often, by whom and with what."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import update

from app.db.clock import now
from app.db.session import Writer
from app.db.tables import ModelRow

LONGEST_CLIENT = 100
"""Characters that are kept of a client's name for itself."""


@dataclass(frozen=True, slots=True)
class Puller:
    """A caller: the name of its key, None without one, and what it says that it is."""

    key_name: str | None
    client: str


@dataclass(slots=True)
class Pulled:
    """What was pulled of one model since the last time it was recorded."""

    model_id: UUID
    pulls: int = 0
    sent: int = 0
    """Bytes."""
    last: Puller | None = None
    """The last caller; None if only bytes were sent, to a caller that was recorded before."""


async def record(connection: Writer, pulled: Collection[Pulled]) -> None:
    """Add to the counts of the models that still exist. `updated_at` stays: what is kept of the model is the same."""
    # In the same order in every process: of two that record the same models, one waits for the other.
    for one in sorted(pulled, key=lambda each: each.model_id):
        values: dict[str, Any] = {
            "pulls": ModelRow.pulls + one.pulls,
            "bytes_sent": ModelRow.bytes_sent + one.sent,
            "last_pulled_at": now(),
        }
        if one.last:
            values |= {"last_pulled_by": one.last.key_name, "last_pulled_with": one.last.client[:LONGEST_CLIENT]}
        await connection.execute(update(ModelRow).where(ModelRow.id == one.model_id).values(**values))
