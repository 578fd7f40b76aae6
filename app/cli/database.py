"""Direct database access for operators' commands, which also work while no API runs."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

from app.cli.settings import CannotGoOn
from app.client.exits import NotThere
from app.db.errors import DatabaseUnreachable
from app.db.session import Writer, open_database
from app.domain.errors import NotFound
from app.settings import Settings

_Answer = TypeVar("_Answer")


def in_a_transaction(settings: Settings, work: Callable[[Writer], Awaitable[_Answer]]) -> _Answer:
    """Return the result of `work`. Raises `NotThere`, or `CannotGoOn` without a database."""

    async def run() -> _Answer:
        database = open_database(settings.database_url)
        try:
            async with database.begin() as connection:
                return await work(connection)
        finally:
            await database.close()

    try:
        return asyncio.run(run())
    except NotFound as error:
        raise NotThere(error.message) from None
    except DatabaseUnreachable as error:
        raise CannotGoOn(error.explanation) from None


def time(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
