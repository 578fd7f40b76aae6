"""Requests to fetch models, of any front end: sealed, committed, and told to a worker."""

from dataclasses import dataclass
from uuid import uuid4

from app.depot.batching import Creates
from app.domain.repositories import Selection
from app.sealing import Sealer
from app.services.audit import Act
from app.services.creates import Create
from app.services.rows import AcceptedOperation
from app.wakeup import Wakeup


@dataclass(frozen=True, slots=True)
class Fetching:
    """`deadline`: seconds that an operation may take."""

    creates: Creates
    wakeup: Wakeup
    sealer: Sealer
    deadline: float

    async def begin(self, act: Act, selection: Selection, token: str | None) -> AcceptedOperation:
        """Return the operation that fetches the selection with this Hub token. Raises `Conflict` as `Creates` does."""
        operation_id = uuid4()
        sealed = self.sealer.seal(token, belongs_to=str(operation_id)) if token else None
        row = await self.creates.accept(act, Create(selection, operation_id, self.deadline, sealed, act.request_id))
        await self.wakeup.send()
        return row
