"""What the database stores about its storage: its identifying mark, and what housekeeping found."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import or_, select, update

from app.db.clock import moment, now
from app.db.inserts import INSERT
from app.db.session import Reader, Writer
from app.db.tables import StorageRow

_ONLY = 1
"""The id of the one row."""


@dataclass(frozen=True, slots=True)
class Known:
    """`complaint` says what housekeeping refused to remove, and what to do; empty if all was well."""

    mark: UUID | None = None
    complaint: str = ""


async def known(connection: Reader) -> Known:
    row = (await connection.execute(select(StorageRow.mark, StorageRow.complaint))).one_or_none()
    return Known(row.mark, row.complaint or "") if row else Known()


async def learn(connection: Writer, mark: UUID, *, instead: bool = False) -> UUID:
    """Store the storage's `mark`; it replaces an existing one only with `instead`. Return the stored mark."""
    await _ensure(connection)
    statement = update(StorageRow).values(mark=mark)
    await connection.execute(statement if instead else statement.where(StorageRow.mark.is_(None)))
    return (await connection.execute(select(StorageRow.mark))).scalar_one() or mark


async def begin_tidying(connection: Writer, *, every: float) -> bool:
    """Claim the tidying. Return whether the caller is to tidy, as nobody did in the last `every` seconds."""
    await _ensure(connection)
    # A time in the future: the clock was put back since then.
    due = or_(
        StorageRow.tidied_at.is_(None), StorageRow.tidied_at < moment(-every), StorageRow.tidied_at > moment(every)
    )
    return (await connection.execute(update(StorageRow).where(due).values(tidied_at=now()))).rowcount == 1


async def tidy_soon(connection: Writer) -> None:
    """Let the next caller of `begin_tidying` tidy, however recently it was done."""
    await connection.execute(update(StorageRow).values(tidied_at=None))


async def complain(connection: Writer, complaint: str) -> None:
    """Store what housekeeping refused to remove, for /readyz and the metrics; an empty text is no complaint."""
    await connection.execute(update(StorageRow).values(complaint=complaint or None))


async def _ensure(connection: Writer) -> None:
    await connection.execute(INSERT[connection.dialect.name](StorageRow).values(id=_ONLY).on_conflict_do_nothing())
