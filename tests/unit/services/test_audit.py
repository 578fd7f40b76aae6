"""The audit, on both databases: what is remembered, and for how long."""

from uuid import uuid4

from sqlalchemy import update

from app.db.access_tables import AuditRow
from app.db.clock import now
from app.db.session import Database
from app.services import audit
from app.services.audit import Act


async def test_what_is_older_than_the_retention_is_forgotten(database: Database) -> None:
    async with database.begin() as connection:
        for key, age in (("EXOold", 100.0), ("EXOrecent", 50.0), ("EXOnew", 0.0)):
            await audit.record(
                connection, [Act(key, "create-model", "192.0.2.7", "a-request", uuid4())], audit.ACCEPTED
            )
            await connection.execute(update(AuditRow).where(AuditRow.key_id == key).values(at=now(-age)))
        assert await audit.purge(connection, 75.0) == 1
        assert await audit.purge(connection, 75.0) == 0
    async with database.read() as connection:
        assert [row.key_id for row in await audit.latest(connection, 10)] == ["EXOrecent", "EXOnew"]
