"""Messages of webhooks: written with what they tell or not at all, and kept for a while."""

import json
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update

from app.db.clock import now
from app.db.session import Database
from app.db.tables import OperationRow
from app.db.webhook_tables import WebhookRow
from app.domain.errors import NotFound, Reason
from app.services import creates, holdings, models, operations, webhooks
from tests import by_hand


async def test_what_happens_to_a_model_is_told_in_the_same_transaction(database: Database) -> None:
    ready = await by_hand.ready_model(database, "acme/ready")
    failed = await by_hand.create(database, "acme/failed")
    await by_hand.fail(database, Reason.FORBIDDEN)
    late = await by_hand.create(database, "acme/late")
    async with database.begin() as connection:
        this = update(OperationRow).where(OperationRow.id == late.id)
        await connection.execute(this.values(deadline_at=now(-1)))
        await operations.expire(connection, limit=100)
        await holdings.lose(connection, ready)
    untouched = await by_hand.create(database, "acme/untouched")
    async with database.begin() as connection:
        await models.request_delete(connection, untouched.resource_id, deadline=60)
        await models.request_delete(connection, failed.resource_id, deadline=60)
    await by_hand.carry_out(database)
    assert await _told(database) == [
        ("model.ready", ready, "ready", None),
        ("model.error", failed.resource_id, "error", "forbidden"),
        ("model.error", late.resource_id, "error", "interrupted"),
        ("model.error", ready, "error", "fault"),
        ("model.deleted", untouched.resource_id, "deleted", None),
        ("model.deleted", failed.resource_id, "deleted", None),
    ]


async def test_a_body_names_a_path_while_the_model_can_be_loaded_and_a_reason_while_it_can_not(
    database: Database,
) -> None:
    deleted, half_gone = [await by_hand.ready_model(database, f"acme/{name}") for name in ("deleted", "half-gone")]
    for model_id, end in ((deleted, by_hand.carry_out), (half_gone, by_hand.fail)):
        async with database.begin() as connection:
            await models.request_delete(connection, model_id, deadline=60)
        await end(database)
    told = {(body["type"], UUID(body["data"]["id"])): body["data"] for body in await _bodies(database)}
    size = sum(size for _, size, _ in by_hand.FILES)
    same: dict[str, Any] = {"revision": "main", "commit": "c" * 40, "model-size": size}
    same |= dict.fromkeys(("reason", "message", "latest"))
    ready = {"id": str(deleted), "name": "acme/deleted", "status": "ready", "path": f"/models/{deleted}", **same}
    assert told["model.ready", deleted] == ready
    assert told["model.deleted", deleted] == ready | {"status": "deleted", "path": None}
    failed = told["model.error", half_gone]
    assert (failed["status"], failed["path"], failed["reason"]) == ("error", None, "not-found")


async def test_what_is_rolled_back_is_not_told(database: Database) -> None:
    operation = await by_hand.create(database, "acme/model")
    with suppress(ZeroDivisionError):
        async with database.begin() as connection:
            await models.forget(connection, operation.resource_id)
            raise ZeroDivisionError
    async with database.read() as connection:
        assert (await models.get(connection, operation.resource_id)).id == operation.resource_id
    assert await _told(database) == []


async def test_a_repair_that_fails_is_not_told_since_the_model_stays_ready(database: Database) -> None:
    ready = await by_hand.ready_model(database, "acme/ready")
    async with database.begin() as connection:
        await creates.repair(connection, ready, operation_id=uuid4(), sealed_token=None, deadline=60)
    await by_hand.fail(database, Reason.UNAVAILABLE)
    assert [event for event, *_ in await _told(database)] == ["model.ready"]


async def test_messages_are_listed_sent_once_more_and_removed_after_a_while(database: Database) -> None:
    first, second = [await by_hand.ready_model(database, f"acme/{name}") for name in ("first", "second")]
    async with database.begin() as connection:
        message = await webhooks.claim(connection, seconds=30)
        assert message is not None
        await webhooks.delivered(connection, message)
        rows = await webhooks.newest(connection, limit=10, undelivered=False)
        assert [(row.model_id, row.model_name, row.attempts) for row in rows] == [
            (second, "acme/second", 0),
            (first, "acme/first", 1),
        ]
        waiting = await webhooks.newest(connection, limit=10, undelivered=True)
        assert [row.model_id for row in waiting] == [second]
        await webhooks.redeliver(connection, message.id)
        assert len(await webhooks.newest(connection, limit=10, undelivered=True)) == 2
        with pytest.raises(NotFound):
            await webhooks.redeliver(connection, uuid4())
        assert await webhooks.purge(connection, retention=3600, limit=100_000) == 0
        old = update(WebhookRow).where(WebhookRow.id == message.id)
        await connection.execute(old.values(created_at=now(-3601)))
        assert await webhooks.purge(connection, retention=3600, limit=100_000) == 1


async def test_what_was_sent_and_did_not_arrive_is_counted_with_the_age_of_the_oldest(database: Database) -> None:
    async def undelivered(age: float) -> int:
        """The number, once it is known that the oldest is of about that age."""
        async with database.read() as connection:
            number, oldest = await webhooks.undelivered(connection)
        assert age <= oldest < age + 60
        return number

    for name in ("first", "second", "third"):
        await by_hand.ready_model(database, f"acme/{name}")
    assert await undelivered(0) == 0  # no receiver may be set
    async with database.begin() as connection:
        await connection.execute(update(WebhookRow).values(created_at=now(-500)))
        sent = [await webhooks.claim(connection, seconds=30) for _ in range(2)]
        assert sent[0] is not None
        assert sent[1] is not None
        await webhooks.failed(connection, sent[0], "The receiver answers 500.", after=30)
        await webhooks.delivered(connection, sent[1])
    assert await undelivered(500) == 1
    async with database.begin() as connection:
        await webhooks.delivered(connection, sent[0])
    assert await undelivered(0) == 0


async def _told(database: Database) -> list[tuple[str, UUID, str, Any]]:
    """The type, and the model's id, status and reason of each message, oldest first."""
    told = [(body["type"], body["data"]) for body in await _bodies(database)]
    return [(event, UUID(data["id"]), data["status"], data["reason"]) for event, data in told]


async def _bodies(database: Database) -> list[dict[str, Any]]:
    """What is sent, oldest first."""
    async with database.read() as connection:
        query = select(WebhookRow.event, WebhookRow.body).order_by(WebhookRow.created_at)
        rows = [(row.event, json.loads(row.body)) for row in (await connection.execute(query)).all()]
    assert all(event == body["type"] for event, body in rows)
    return [body for _, body in rows]
