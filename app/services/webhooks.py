"""Messages to the receiver of webhooks: written with what they tell, claimed, delivered, sent again, purged.

They are written whether or not there is a receiver: only the workers know its address, which may hold a secret.
"""

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple, cast
from uuid import UUID, uuid4

from sqlalchemy import Float, bindparam, case, func, insert, select, update

from app.db.clock import moment, now
from app.db.deletes import delete_some
from app.db.session import Reader, Writer
from app.db.tables import ModelRow
from app.db.webhook_tables import WebhookRow
from app.domain.errors import NotFound
from app.domain.states import ModelStatus
from app.services.rows import WebhookRecord

_TOLD: tuple[Any, ...] = (
    ModelRow.id,
    ModelRow.name,
    ModelRow.revision,
    ModelRow.commit,
    ModelRow.status,
    ModelRow.model_size,
    # As in the API: nobody may load what is not ready.
    case((ModelRow.status == ModelStatus.READY, ModelRow.path)).label("path"),
    ModelRow.reason,
    ModelRow.message,
    ModelRow.latest,
)
_SHOWN: tuple[Any, ...] = (
    WebhookRow.id,
    WebhookRow.event,
    WebhookRow.model_id,
    WebhookRow.model_name,
    WebhookRow.created_at,
    WebhookRow.due_at,
    WebhookRow.attempts,
    WebhookRow.delivered_at,
    WebhookRow.error,
    moment().label("now"),
)
_DUE = select(WebhookRow.id).where(WebhookRow.delivered_at.is_(None), WebhookRow.due_at <= moment())
_FIRST = _DUE.order_by(WebhookRow.due_at).limit(1).with_for_update(skip_locked=True).scalar_subquery()
# Built once: building it takes as long as running it.
_CLAIM = (
    update(WebhookRow)
    .where(WebhookRow.id == _FIRST)
    .values(due_at=now(bindparam("seconds", type_=Float())), attempts=WebhookRow.attempts + 1)
    .returning(WebhookRow.id, WebhookRow.event, WebhookRow.body, WebhookRow.attempts)
)


class Event(StrEnum):
    """What may happen to a model, as the type of a message."""

    READY = "model.ready"
    ERROR = "model.error"
    DELETED = "model.deleted"
    UPDATE_AVAILABLE = "model.update_available"


class Message(NamedTuple):
    """A claimed message. `attempts` proves the claim: a later one has a higher number."""

    id: UUID
    event: str
    body: str
    attempts: int


async def record(connection: Writer, event: Event, model_id: UUID) -> None:
    """Write the message of what happened to a model, in the transaction in which it happens.

    The model's row must be as it is to be told; for `DELETED`, still there.
    """
    query = select(*_TOLD, now().label("at")).where(ModelRow.id == model_id)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return
    *model, at = row
    data = dict(zip([column.key.replace("_", "-") for column in _TOLD], model, strict=True))
    if event is Event.DELETED:
        data |= {"status": "deleted", "path": None, "reason": None, "message": None, "latest": None}
    told = {"type": event, "timestamp": f"{at:%Y-%m-%dT%H:%M:%SZ}", "data": data}
    values = {"event": event, "model_id": row.id, "model_name": row.name, "body": json.dumps(told, default=str)}
    await connection.execute(
        insert(WebhookRow).values(id=uuid4(), created_at=now(), due_at=now(), attempts=0, **values)
    )


async def claim(connection: Writer, *, seconds: float) -> Message | None:
    """Return the message that has been due longest, which nobody else gets for that long; `None` if none is due."""
    row = (await connection.execute(_CLAIM, {"seconds": seconds})).one_or_none()
    return None if row is None else Message(*row)


async def delivered(connection: Writer, message: Message) -> None:
    """Mark a message as delivered, also if it has been claimed again since."""
    statement = update(WebhookRow).where(WebhookRow.id == message.id)
    await connection.execute(statement.values(delivered_at=now(), error=None))


async def failed(connection: Writer, message: Message, error: str, *, after: float) -> None:
    """Have a message sent again in `after` seconds, unless it has been claimed again since."""
    mine = (WebhookRow.id == message.id, WebhookRow.attempts == message.attempts, WebhookRow.delivered_at.is_(None))
    await connection.execute(update(WebhookRow).where(*mine).values(due_at=now(after), error=error))


async def newest(connection: Reader, *, limit: int, undelivered: bool) -> Sequence[WebhookRecord]:
    """Return at most `limit` messages, newest first; only those that were not delivered, if asked for."""
    query = select(*_SHOWN).order_by(WebhookRow.created_at.desc(), WebhookRow.id).limit(limit)
    if undelivered:
        query = query.where(WebhookRow.delivered_at.is_(None))
    return cast("Sequence[WebhookRecord]", (await connection.execute(query)).all())


class Undelivered(NamedTuple):
    """The messages that were sent and did not arrive: their number, and the age of the oldest in seconds."""

    number: int
    oldest: float


async def undelivered(connection: Reader) -> Undelivered:
    """Count the messages that no attempt has delivered. What was never sent may have no receiver to wait for."""
    tried = (WebhookRow.delivered_at.is_(None), WebhookRow.attempts > 0)
    query = select(func.count(), func.min(WebhookRow.created_at), moment()).where(*tried)
    number, since, at = (await connection.execute(query)).one()
    return Undelivered(number, (at - since).total_seconds() if number else 0.0)


async def redeliver(connection: Writer, message_id: UUID) -> None:
    """Have a message sent once more, at once, delivered or not. Raises `NotFound`."""
    statement = update(WebhookRow).where(WebhookRow.id == message_id)
    values = {"due_at": now(), "attempts": 0, "delivered_at": None, "error": None}
    if (await connection.execute(statement.values(**values))).rowcount != 1:
        raise NotFound(f"There is no message {message_id}: `modeldepot webhooks list` shows those that are kept.")


async def purge(connection: Writer, *, retention: float, limit: int) -> int:
    """Delete at most `limit` messages that are older than `retention` seconds, delivered or not. Return their number."""
    old = WebhookRow.created_at < moment(-retention)
    return (await connection.execute(delete_some(WebhookRow, old, limit=limit))).rowcount
