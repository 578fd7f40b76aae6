"""The audit, on both databases: what is remembered, and for how long."""

from typing import Any
from uuid import uuid4

from sqlalchemy import update

from app.db.access_tables import AuditRow
from app.db.clock import now
from app.db.session import Database
from app.services import audit
from app.services.audit import Act, Filter


async def test_what_is_older_than_the_retention_is_forgotten(database: Database) -> None:
    async with database.begin() as connection:
        for key, age in (("EXOold", 100.0), ("EXOrecent", 50.0), ("EXOnew", 0.0)):
            await audit.record(
                connection, [Act(key, "create-model", "192.0.2.7", "a-request", uuid4())], audit.ACCEPTED
            )
            await connection.execute(update(AuditRow).where(AuditRow.key_id == key).values(at=now(-age)))
        assert await audit.purge(connection, retention=75.0, limit=100_000) == 1
        assert await audit.purge(connection, retention=75.0, limit=100_000) == 0
    async with database.read() as connection:
        assert [row.key_id for row in await audit.latest(connection, 10)] == ["EXOrecent", "EXOnew"]


async def test_records_are_filtered_by_text_action_and_outcome_and_read_in_both_orders(database: Database) -> None:
    acts = [
        Act("EXOone", "create-model", "192.0.2.7", "", resource_name="acme/Base", key_name="ci bot"),
        Act("EXOone", "delete-model", "192.0.2.7", "", resource_name="acme/base", key_name="ci bot"),
        Act("EXOtwo", "create-model", "198.51.100.9", "", resource_name="other/50%", key_name="ann"),
    ]
    for act, outcome in zip(acts, (audit.ACCEPTED, "403 Forbidden", audit.ACCEPTED), strict=True):
        async with database.begin() as connection:
            await audit.record(connection, [act], outcome)

    async def found(sort: str = "-at", **given: str) -> list[str]:
        wanted, rows = Filter(**given), list[Any]()
        async with database.read() as reader:
            while page := await audit.find(reader, wanted, sort=sort, limit=2, offset=len(rows)):
                rows += page
            counts = await audit.counts(reader, wanted)
            assert len(rows) == (counts[wanted.outcome] if wanted.outcome else sum(counts.values()))
            if sort == "-at":
                first = await audit.following(reader, wanted, limit=2)
                rest = await audit.following(reader, wanted, limit=9, before=first[-1].id)
                assert [row.id for row in (*first, *rest)] == [row.id for row in rows]
        return [f"{row.action} {row.resource_name}" for row in rows]

    everything = [f"{act.action} {act.resource_name}" for act in acts]
    assert await found() == everything[::-1]
    assert await found(sort="at") == everything
    assert await found(text="ACME/b", sort="at") == everything[:2]
    assert await found(text="ci bot", outcome="refused") == [everything[1]]
    assert await found(sort="action") == [everything[2], everything[0], everything[1]]
    assert await found(sort="-key") == [everything[1], everything[0], everything[2]]
    assert await found(sort="name") == [everything[1], everything[0], everything[2]]
    assert await found(sort="outcome") == [everything[2], everything[0], everything[1]]
    assert (await found(sort="-outcome"))[0] == everything[1]
    assert await found(text="%") == await found(text="198.51") == [everything[2]]
    assert await found(action="create-model", outcome=audit.ACCEPTED, sort="at") == [everything[0], everything[2]]
    async with database.read() as reader:
        assert await audit.actions(reader) == ["create-model", "delete-model"]
