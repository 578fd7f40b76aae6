"""Concurrent reads share one query: the SDKs poll, and so does everything that waits."""

from collections.abc import Mapping
from uuid import UUID

from app.api import schemas
from app.api.answers import body, operation_body, plain
from app.batcher import Batcher
from app.db.session import Database, PersistentReader
from app.services import models, operations


class Reads:
    """Queries that requests share, each with the answer's body."""

    def __init__(self, database: Database) -> None:
        self._reader = PersistentReader(database)
        self._model: Batcher[UUID, bytes] = Batcher(self._find_models)
        self._operation: Batcher[UUID, bytes] = Batcher(self._find_operations)

    async def model(self, model_id: UUID) -> bytes:
        """Return a model's JSON. Raises `NotFound`."""
        found = await self._model.get(model_id)
        if found is None:
            raise models.unknown(model_id)
        return found

    async def operation(self, operation_id: UUID) -> bytes:
        """Return an operation's JSON. Raises `NotFound`."""
        found = await self._operation.get(operation_id)
        if found is None:
            raise operations.unknown(operation_id)
        return found

    async def close(self) -> None:
        await self._reader.close()

    async def _find_models(self, model_ids: set[UUID]) -> Mapping[UUID, bytes]:
        async with self._reader.read() as connection:
            rows = await models.get_many(connection, list(model_ids))
        return {model["id"]: body(schemas.MODEL, model) for model in plain([*rows.values()])}

    async def _find_operations(self, operation_ids: set[UUID]) -> Mapping[UUID, bytes]:
        async with self._reader.read() as connection:
            rows = await operations.get_many(connection, list(operation_ids))
        return {operation_id: operation_body(row) for operation_id, row in rows.items()}
