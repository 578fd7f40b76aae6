"""One API process's cache of console sessions: looked up on use, kept for two seconds."""

import time
from collections.abc import Mapping

from app.batcher import Batcher
from app.db.session import Database
from app.services import sessions

_REMEMBERED_FOR = 2.0
"""Seconds; a session that another process ended is still accepted for as long."""


class Sessions:
    """Tells which sessions are current. One query every two seconds covers all, however many watch a page."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._current_until: dict[str, float] = {}
        self._used: set[str] = set()
        """Sessions used since the last query: the next one covers all of them."""
        self._looks: Batcher[str, bool] = Batcher(self._look)

    async def is_current(self, session_id: str) -> bool:
        """Return whether the session has neither ended nor expired."""
        self._used.add(session_id)
        if time.monotonic() < self._current_until.get(session_id, 0.0):
            return True
        return await self._looks.get(session_id) is not None

    def forget(self) -> None:
        """Clear the cache: some sessions have ended."""
        self._current_until = {}

    async def _look(self, asked: set[str]) -> Mapping[str, bool]:
        until, used = time.monotonic() + _REMEMBERED_FOR, self._used | asked
        self._used, before = set(), self._current_until
        async with self._database.read() as connection:
            current = await sessions.current(connection, used)
        if self._current_until is before:  # else the cache was cleared meanwhile, and this may be older
            self._current_until = dict.fromkeys(current, until)
        return dict.fromkeys(current, True)
