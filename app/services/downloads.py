"""The steps of a download in its model's row, each guarded by the operation's lease.

creating -> `begin` -> downloading -> `publish` -> ready, or `fail` -> error -> `reset` -> creating.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import exists, func, select, update

from app.db.clock import now
from app.db.session import Reader, Writer
from app.db.tables import ModelRow, OperationRow, WaitRow
from app.db.transitions import Lease, LeaseLost, end_operation, fail_model, held, mark_deleting, move_model
from app.domain.commands import Command
from app.domain.errors import OperationError
from app.domain.states import ModelStatus, OperationState
from app.services import files, webhooks
from app.services.webhooks import Event

_BEGINNING = 0x6D6F64656C
"""The PostgreSQL advisory lock under which downloads begin: an arbitrary number."""


@dataclass(frozen=True, slots=True)
class Begun:
    """The size of a download: `total` bytes in `files` files, of which `downloaded` bytes are already here."""

    commit: str
    total: int
    downloaded: int
    files: int | None = None


async def begin(connection: Writer, lease: Lease, model_id: UUID, begun: Begun) -> None:
    """Write a download's size, and mark the model as downloading. Raises `LeaseLost`."""
    values = asdict(begun) | {"files_verified": 0, "reason": None, "message": None}
    if not await move_model(connection, model_id, ModelStatus.DOWNLOADING, lease=lease, **values):
        raise LeaseLost
    # A later attempt goes on with what this one began.
    first = {
        "begun_at": func.coalesce(OperationRow.begun_at, now()),
        "to_fetch": func.coalesce(OperationRow.to_fetch, begun.total - begun.downloaded),
    }
    await connection.execute(update(OperationRow).where(held(lease)).values(**first))


async def measure(connection: Writer, lease: Lease, model_id: UUID, *, commit: str, total: int) -> None:
    """Write the size of a model whose download can't begin yet. `total` is in bytes. Raises `LeaseLost`."""
    await _write(connection, lease, model_id, commit=commit, total=total, updated_at=now())


async def report(
    connection: Writer, lease: Lease, model_id: UUID, *, downloaded: int | None, files: int, rate: int | None
) -> None:
    """Write a download's progress, which also checks the lease. Raises `LeaseLost`."""
    await _write(connection, lease, model_id, downloaded=downloaded, files_verified=files, rate=rate)


async def publish(
    connection: Writer, lease: Lease, model_id: UUID, path: str, verified: Sequence[files.Recorded]
) -> None:
    """Mark a model as ready at `path`, and end its operation.

    Raises `LeaseLost`.
    """
    size = sum(file[1] for file in verified)
    moved = await move_model(
        connection,
        model_id,
        ModelStatus.READY,
        lease=lease,
        model_size=size,
        downloaded=size,
        files=len(verified),
        files_verified=len(verified),
        rate=None,
        path=path,
    )
    if not moved:
        raise LeaseLost
    await _complete(connection, lease, model_id, verified)
    await webhooks.record(connection, Event.READY, model_id)


async def mend(connection: Writer, lease: Lease, model_id: UUID, verified: Sequence[files.Recorded]) -> None:
    """Record the files of a repaired model, and end its operation. Raises `LeaseLost`."""
    # API processes remember a model's files until this changes.
    await _write(connection, lease, model_id, updated_at=now())
    await _complete(connection, lease, model_id, verified)


async def fail(connection: Writer, lease: Lease, model_id: UUID, command: Command, error: OperationError) -> None:
    """Fail the operation for `error`. After a failed delete the model may be used again. Raises `LeaseLost`."""
    if await fail_model(connection, model_id, command, error.reason, error.message, lease=lease):
        await webhooks.record(connection, Event.ERROR, model_id)
    await mark_deleting(connection, model_id, deleting=False)
    await end_operation(connection, lease, OperationState.FAILURE, reason=error.reason, message=error.message)


async def reset(connection: Writer, model_id: UUID) -> bool:
    """Reset a failed model to `creating`, except for what was downloaded. Return False if it has not failed."""
    return await move_model(
        connection,
        model_id,
        ModelStatus.CREATING,
        reason=None,
        message=None,
        path=None,
        commit=None,
        model_size=None,
        total=None,
        files=None,
        files_verified=None,
        rate=None,
    )


async def one_by_one(connection: Writer) -> None:
    """Let downloads begin one after another, up to the end of the transaction, so that they see each other."""
    if connection.dialect.name == "postgresql":  # SQLite has one writer anyhow.
        await connection.execute(select(func.pg_advisory_xact_lock(_BEGINNING)))


async def under_way(connection: Reader, *, without: UUID | None = None) -> Mapping[UUID, tuple[int, int]]:
    """Return the models that are being downloaded, each with (bytes to fetch, bytes reported as downloaded)."""
    leased = (OperationRow.resource_id == ModelRow.id, OperationRow.lease_owner.is_not(None))
    # A content that another download fetches needs space only once.
    awaited = select(func.sum(WaitRow.size)).join(OperationRow, OperationRow.id == WaitRow.operation_id).where(*leased)
    size = ModelRow.total - func.coalesce(awaited.scalar_subquery(), 0)
    query = select(ModelRow.id, size, func.coalesce(ModelRow.downloaded, 0)).where(
        ModelRow.status == ModelStatus.DOWNLOADING, exists().where(*leased)
    )
    query = query.where(ModelRow.id != without) if without else query
    return {row[0]: (int(row[1] or 0), int(row[2])) for row in (await connection.execute(query)).all()}


async def _complete(connection: Writer, lease: Lease, model_id: UUID, verified: Sequence[files.Recorded]) -> None:
    """Record the files of a ready model, and end the operation. Raises `LeaseLost`."""
    await files.record(connection, model_id, verified)
    await end_operation(connection, lease, OperationState.SUCCESS)


async def _write(connection: Writer, lease: Lease, model_id: UUID, **values: Any) -> None:
    """Write `values` to the model's row while the lease is held. Raises `LeaseLost`."""
    mine = update(ModelRow).where(ModelRow.id == model_id, exists().where(held(lease)))
    if (await connection.execute(mine.values(**values))).rowcount != 1:
        raise LeaseLost
