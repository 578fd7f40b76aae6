"""Deployments that pulls declare and renew: what pulls a model uses it. Those that pulls declared expire."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, or_, select, update

from app.db.clock import moment, now
from app.db.deletes import delete_some
from app.db.session import Writer
from app.db.tables import DeploymentRow
from app.domain.errors import Conflict, NotFound, NotReady
from app.services import deployments
from app.services.rows import AcceptedOperation

RENEWED_EVERY = 60.0
"""The least seconds between two updates of when a deployment was last seen."""
LONGEST_NAME = 200
"""Characters of a name that a pull declares: the model's id may be put behind it."""
_MOST = 1000
"""Deployments that one key can declare by pulling: a reader's key must not fill the database."""


async def seen(connection: Writer, key_id: str, model_id: UUID) -> None:
    """Renew the deployments that pull this model with this key."""
    await _renew(connection, DeploymentRow.key_id == key_id, DeploymentRow.model_id == model_id)


async def declare_by_pull(
    connection: Writer, model_id: UUID, name: str, key_id: str, *, request_id: str | None = None
) -> AcceptedOperation | None:
    """Declare that `name`, which pulls with this key, uses the model. Return the operation of a new deployment.

    Return None if the deployment exists, which is then renewed, or if the model can't be deployed. A name that another
    model's deployment has is used with the model's id behind it: an engine may pull several models. Raises `Conflict` if
    the key has declared too many.
    """
    names = (name, f"{name} ({model_id})")
    query = select(DeploymentRow.id).where(DeploymentRow.name.in_(names), DeploymentRow.model_id == model_id)
    if (existing := (await connection.execute(query)).scalars().first()) is not None:
        await _renew(connection, DeploymentRow.id == existing)
        return None
    await _check_number(connection, key_id)
    given: dict[str, Any] = {"key_id": key_id, "by_pull": True, "last_seen_at": now(), "request_id": request_id}
    for one in names:
        try:
            return await deployments.create(
                connection, model_id=model_id, model_name=None, name=one, inference_engine_parameters=[], **given
            )
        except Conflict:
            continue
        except (NotFound, NotReady):
            break
    return None


async def expire(connection: Writer, *, unseen: float, limit: int) -> int:
    """Delete at most `limit` deployments that a pull declared and none renewed for `unseen` seconds.

    Return their number.
    """
    old = and_(DeploymentRow.by_pull, DeploymentRow.last_seen_at < moment(-unseen))
    return (await connection.execute(delete_some(DeploymentRow, old, limit=limit))).rowcount


async def _renew(connection: Writer, *which: ColumnElement[bool]) -> None:
    stale = or_(DeploymentRow.last_seen_at.is_(None), DeploymentRow.last_seen_at < now(-RENEWED_EVERY))
    await connection.execute(update(DeploymentRow).where(*which, stale).values(last_seen_at=now()))


async def _check_number(connection: Writer, key_id: str) -> None:
    query = select(func.count()).where(DeploymentRow.key_id == key_id, DeploymentRow.by_pull)
    if (await connection.execute(query)).scalar_one() >= _MOST:
        raise Conflict(
            f"Key {key_id} has declared {_MOST} deployments by pulling, the most it can: give what pulls one name that "
            "stays, or delete deployments that are gone."
        )
