"""Commits concurrent creates together: each statement, and the commit, serve all of them."""

from collections.abc import Mapping

from app.batcher import Batcher
from app.db.session import Database
from app.services import audit, creates
from app.services.audit import Act
from app.services.creates import Create
from app.services.rows import AcceptedOperation

_Asked = tuple[Act, Create]


class Creates:
    """Accepts creates, each with its audit."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._together: Batcher[_Asked, AcceptedOperation] = Batcher(self._commit)

    async def accept(self, act: Act, wanted: Create) -> AcceptedOperation:
        """Return the committed operation that fetches what is wanted. Raises `Conflict` while a model of it exists."""
        row = await self._together.get((act, wanted))
        if row is None:
            # A model of it exists: its locks and its refusal must not affect the other creates.
            async with self._database.begin() as connection:
                row = await creates.create(connection, wanted)
                await audit.accept(connection, act, row)
        return row

    async def _commit(self, asked: set[_Asked]) -> Mapping[_Asked, AcceptedOperation]:
        """Create what has no model yet, and return those operations."""
        # The same order in every process: of two that insert the same models, one waits for the other.
        in_order = sorted(asked, key=lambda one: one[1].selection.fingerprint)
        async with self._database.begin() as connection:
            rows = await creates.create_new(connection, [wanted for _, wanted in in_order])
            made = {(act, wanted): rows[wanted.operation_id] for act, wanted in in_order if wanted.operation_id in rows}
            await audit.accept_all(connection, {act: row for (act, _), row in made.items()})
        return made
