"""Figures that many ask for."""

import asyncio
import time

from sqlalchemy import literal, select

from app.db.session import Database, Reader
from app.depot.figures import Figure

_TAKES = 0.03
"""Seconds: so a count is good for three."""


async def test_however_many_ask_at_once_it_is_counted_once_and_anew_when_it_is_too_old(database: Database) -> None:
    counted: list[float] = []

    async def count(connection: Reader) -> int:
        counted.append(time.monotonic())
        await asyncio.sleep(_TAKES)
        return int((await connection.execute(select(literal(7)))).scalar_one())

    patient, quick = Figure(count), Figure(count, oldest=0.0)

    async def ask(figure: Figure[int]) -> int:
        async with database.read() as connection:
            return await figure.look(connection)

    assert set(await asyncio.gather(*(ask(patient) for _ in range(50)))) == {7}
    assert len(counted) == 1
    async with asyncio.timeout(60):
        while len(counted) == 1:
            assert await ask(patient) == 7
    assert counted[1] - counted[0] >= 100 * _TAKES
    for _ in range(3):
        await ask(quick)
    assert len(counted) == 5
