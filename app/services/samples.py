"""Figures over time: one row a minute for a day, then one an hour for a month. So there are never more than 2,400 rows."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, cast

from sqlalchemy import BigInteger, case, delete, func, select
from sqlalchemy import cast as as_type

from app.db.clock import moment, now
from app.db.inserts import INSERT
from app.db.session import Reader, Writer
from app.db.tables import ModelRow, SampleRow
from app.domain.states import ModelStatus
from app.services.rows import SampleRecord

MINUTE, HOUR = 60, 3600
_MINUTES_FOR, _HOURS_FOR = timedelta(hours=25), timedelta(days=31)
"""How long each is kept: a little longer than a day and a month, of which pictures are made."""
_COLUMNS: tuple[Any, ...] = (
    SampleRow.seconds,
    SampleRow.at,
    SampleRow.fetched,
    SampleRow.best_minute,
    SampleRow.used,
    SampleRow.free,
)


async def add(connection: Writer, *, fetched: int, used: int | None, free: int | None, minutes: int = 1) -> None:
    """Add what a worker fetched to the current minute. Fold old minutes into hours, and forget old hours.

    What it took several `minutes` to fetch, since the database was away, is divided among them.
    """
    at: datetime = (await connection.execute(select(now()))).scalar_one()
    minute = at.replace(second=0, microsecond=0)
    for ago in range(minutes - 1, 0, -1):
        await _add(connection, MINUTE, minute - timedelta(minutes=ago), fetched // minutes, None, None)
    await _add(connection, MINUTE, minute, fetched - fetched // minutes * (minutes - 1), used, free)
    await _fold(connection, at)


async def since(connection: Reader, seconds: float) -> tuple[datetime, Sequence[SampleRecord]]:
    """Return (the database's time, the rows of the last `seconds`, oldest first)."""
    at = (await connection.execute(select(now()))).scalar_one()
    query = select(*_COLUMNS).where(SampleRow.seconds.in_((MINUTE, HOUR)), SampleRow.at > moment(-seconds))
    return at, cast("Sequence[SampleRecord]", (await connection.execute(query.order_by(SampleRow.at))).all())


async def size_of_models(connection: Reader) -> int:
    """Return the bytes of all models, where the storage does not tell what is used."""
    size = case((ModelRow.status == ModelStatus.READY, ModelRow.model_size), else_=ModelRow.downloaded.expression)
    return (await connection.execute(select(as_type(func.coalesce(func.sum(size), 0), BigInteger)))).scalar_one()


async def _fold(connection: Writer, at: datetime) -> None:
    edge = (at - _MINUTES_FOR).replace(minute=0, second=0, microsecond=0)
    old = delete(SampleRow).where(SampleRow.seconds == MINUTE, SampleRow.at < edge)
    # Of two workers that do this at once, each gets other rows.
    rows = sorted((await connection.execute(old.returning(*_COLUMNS))).all(), key=lambda row: row.at)
    for hour, minutes in groupby(rows, key=lambda row: row.at.replace(minute=0)):
        each = list(minutes)
        fetched, best = sum(row.fetched for row in each), max(row.fetched for row in each)
        await _add(connection, HOUR, hour, fetched, each[-1].used, each[-1].free, best)
    await connection.execute(delete(SampleRow).where(SampleRow.seconds == HOUR, SampleRow.at < at - _HOURS_FOR))


async def _add(
    connection: Writer,
    seconds: int,
    at: datetime,
    fetched: int,
    used: int | None,
    free: int | None,
    best_minute: int | None = None,
) -> None:
    new = INSERT[connection.dialect.name](SampleRow).values(
        seconds=seconds, at=at, fetched=fetched, best_minute=best_minute, used=used, free=free
    )
    best = case(
        (SampleRow.best_minute > new.excluded.best_minute, SampleRow.best_minute), else_=new.excluded.best_minute
    )
    both = {
        "fetched": SampleRow.fetched + new.excluded.fetched,
        "best_minute": best,
        "used": func.coalesce(new.excluded.used, SampleRow.used),
        "free": func.coalesce(new.excluded.free, SampleRow.free),
    }
    await connection.execute(new.on_conflict_do_update(index_elements=[SampleRow.seconds, SampleRow.at], set_=both))
