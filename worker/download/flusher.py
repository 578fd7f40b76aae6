"""Syncs arriving bytes to disk in a background thread, a few MiB at a time.

A kill then loses little, and the kernel never buffers so much of a large model that writing it out stalls the host.
"""

import threading
from typing import Protocol

_ENOUGH = 8 << 20
"""Unsynced bytes that start a sync."""
_MOST = 24 << 20
"""Most unsynced bytes: at this limit writers wait."""


class Synced(Protocol):
    """Something that can be synced."""

    def sync(self) -> None:
        """Sync what was written so far to disk."""


class Flusher:
    """One thread for all files of a download."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._written: dict[Synced, int] = {}
        self._waiting = 0
        """Bytes written and not synced."""
        self._error: OSError | None = None
        threading.Thread(target=self._run, daemon=True, name="flusher").start()

    def wrote(self, what: Synced, count: int) -> None:
        """Count written bytes; wait while the disk is behind. Raise the `OSError` of a failed sync."""
        with self._changed:
            self._written[what] = self._written.get(what, 0) + count
            before, self._waiting = self._waiting, self._waiting + count
            if before < _ENOUGH <= self._waiting:
                self._changed.notify_all()
            self._changed.wait_for(lambda: self._waiting < _MOST or self._error)
            if self._error:
                raise self._error

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting >= _ENOUGH)
                written, self._written = self._written, {}
            try:
                for what in written:
                    what.sync()
            except OSError as error:
                self._error = error
            with self._changed:
                self._waiting -= sum(written.values())
                self._changed.notify_all()
