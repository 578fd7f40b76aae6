"""Models by the thousand, written as rows."""

from typing import Any
from uuid import uuid4

from sqlalchemy import insert

from app.db.clock import now
from app.db.session import Database
from app.db.tables import ModelRow
from app.domain.states import ModelStatus


async def add_models(database: Database, count: int, **values: Any) -> None:
    """The later ones are larger; every tenth is in error."""
    async with database.begin() as connection:
        for number in range(count):
            row = {
                "id": uuid4(),
                "name": f"acme/many-{number:04}",
                "revision": "main",
                "include": [],
                "exclude": [],
                "fingerprint": uuid4().hex,
                "status": ModelStatus.READY if number % 10 else ModelStatus.ERROR,
                "deleting": False,
                "model_size": (number + 1) * 1_000_000,
            }
            await connection.execute(insert(ModelRow).values(created_at=now(), updated_at=now(), **(row | values)))
