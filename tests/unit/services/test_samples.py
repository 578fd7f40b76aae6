"""Figures over time: added up, folded into hours, forgotten, and never many."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, insert, select, update

from app.db.session import Database
from app.db.tables import ModelRow, SampleRow
from app.services import samples
from tests import by_hand

DAY, MONTH = 86_400.0, 31 * 86_400.0


async def test_what_workers_fetch_in_one_minute_is_one_row_with_the_last_state_of_the_storage(
    database: Database,
) -> None:
    for fetched, used in ((5, 100), (7, 200)):
        async with database.begin() as connection:
            await samples.add(connection, fetched=fetched, used=used, free=1000 - used)
    rows = await _since(database, DAY)
    assert sum(row.fetched for row in rows) == 12
    # Two, if a minute ended between them.
    assert len(rows) <= 2
    assert (rows[-1].used, rows[-1].free, rows[-1].seconds) == (200, 800, 60)
    assert (rows[-1].at.second, rows[-1].at.microsecond) == (0, 0)


async def test_minutes_of_the_day_before_become_hours_and_old_hours_are_forgotten(database: Database) -> None:
    now = await _clock(database)
    hour = (now - timedelta(hours=30)).replace(minute=0, second=0, microsecond=0)
    await _insert(database, [(60, hour + timedelta(minutes=minute), 9 + minute % 3) for minute in (0, 1, 59)])
    await _insert(database, [(3600, hour, 100), (3600, now - timedelta(days=40), 1000)])
    fresh = now.replace(second=0, microsecond=0) - timedelta(hours=23)
    await _insert(database, [(60, fresh, 1)])
    async with database.begin() as connection:
        await samples.add(connection, fetched=0, used=None, free=None)
    found = [row for row in await _since(database, MONTH) if row.fetched]
    rows = [(row.seconds, row.at, row.fetched, row.best_minute, row.used) for row in found]
    assert rows == [(3600, hour, 130, 11, 59), (60, fresh, 1, None, fresh.minute)]
    async with database.read() as connection:
        assert (await connection.execute(select(func.count()).select_from(SampleRow))).scalar_one() == 3


async def test_an_hour_keeps_its_best_minute_when_late_ones_are_folded_into_it(database: Database) -> None:
    hour = (await _clock(database) - timedelta(hours=30)).replace(minute=0, second=0, microsecond=0)
    for late, best in ((50, 50), (70, 70), (20, 70)):
        await _insert(database, [(60, hour, late)])
        async with database.begin() as connection:
            await samples.add(connection, fetched=0, used=None, free=None)
        assert [row.best_minute for row in await _since(database, MONTH) if row.at == hour] == [best]


async def test_what_could_not_be_recorded_for_minutes_is_divided_among_them(database: Database) -> None:
    async with database.begin() as connection:
        await samples.add(connection, fetched=0, used=100, free=900)
        await samples.add(connection, fetched=1001, used=200, free=800, minutes=10)
    rows = [row for row in await _since(database, DAY) if row.fetched]
    assert [row.fetched for row in rows] == [100] * 9 + [101]
    assert (rows[-1].used, rows[-1].free, rows[0].used) == (200, 800, None)


async def test_after_a_month_there_are_no_more_rows_than_said(database: Database) -> None:
    now = (await _clock(database)).replace(second=0, microsecond=0)
    dense, days = range(26 * 60), range(0, 33 * 24 * 60, 30)
    await _insert(database, [(60, now - timedelta(minutes=minute), 1) for minute in sorted({*dense, *days})])
    async with database.begin() as connection:
        await samples.add(connection, fetched=0, used=None, free=None)
        rows = (await connection.execute(select(func.count()).select_from(SampleRow))).scalar_one()
        fetched = (await connection.execute(select(func.sum(SampleRow.fetched)))).scalar_one()
    assert rows <= 2_400
    assert fetched >= len(dense) + 2 * 24 * 29


async def test_where_the_storage_tells_nothing_the_models_sizes_count(database: Database) -> None:
    await by_hand.ready_model(database, "acme/ready")
    await by_hand.create(database, "acme/arriving")
    claim = await by_hand.claim(database)
    assert claim is not None
    await by_hand.arrive(database, claim, 30)
    async with database.begin() as connection:
        await connection.execute(update(ModelRow).where(ModelRow.name == "acme/ready").values(model_size=100))
        assert await samples.size_of_models(connection) == 130


async def _since(database: Database, seconds: float) -> list[Any]:
    async with database.read() as connection:
        return list((await samples.since(connection, seconds))[1])


async def _clock(database: Database) -> datetime:
    async with database.read() as connection:
        return (await samples.since(connection, 0.0))[0]


async def _insert(database: Database, rows: list[tuple[int, datetime, int]]) -> None:
    values = [
        {"seconds": seconds, "at": at, "fetched": fetched, "used": at.minute, "free": None}
        for seconds, at, fetched in rows
    ]
    async with database.begin() as connection:
        await connection.execute(insert(SampleRow), values)
