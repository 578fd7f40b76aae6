"""The console's sessions as one API process knows them: looked up when they are used, remembered for a moment."""

import time
from collections.abc import Mapping

from app.batcher import Batcher
from app.db.session import Database
from app.services import sessions

_REMEMBERED_FOR = 2.0
"""Seconds: also how long a session that another process ended still opens."""


class Sessions:
    """Tells which sessions go on. However many watch a page, one query every two seconds tells it of all."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._current_until: dict[str, float] = {}
        self._used: set[str] = set()
        """Those asked for since the last look: it looks at all of them again."""
        self._looks: Batcher[str, bool] = Batcher(self._look)

    async def is_current(self, session_id: str) -> bool:
        """Whether it has neither ended nor expired."""
        self._used.add(session_id)
        if time.monotonic() < self._current_until.get(session_id, 0.0):
            return True
        return await self._looks.get(session_id) is not None

    def forget(self) -> None:
        """Look all of them up again: some of them have ended."""
        self._current_until = {}

    async def _look(self, asked: set[str]) -> Mapping[str, bool]:
        until, used = time.monotonic() + _REMEMBERED_FOR, self._used | asked
        self._used, before = set(), self._current_until
        async with self._database.read() as connection:
            current = await sessions.current(connection, used)
        if self._current_until is before:  # what this read may be older than what was forgotten meanwhile
            self._current_until = dict.fromkeys(current, until)
        return dict.fromkeys(current, True)
