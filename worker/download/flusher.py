"""Puts what arrives on disk for good, a few MiB at a time, beside those who write it.

So little is lost by a kill, and the kernel never collects so much of a large model that writing it out stalls the host.
"""

import threading
from typing import Protocol

_ENOUGH = 8 << 20
"""Bytes that are worth a synchronisation."""
_MOST = 24 << 20
"""Bytes that may wait for one: then those who write wait, too."""


class Synced(Protocol):
    """What can be synchronised."""

    def sync(self) -> None:
        """Put what was written so far on disk."""


class Flusher:
    """One thread for all files of a download."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._written: dict[Synced, int] = {}
        self._waiting = 0
        """Bytes written and not synchronised."""
        self._error: OSError | None = None
        threading.Thread(target=self._run, daemon=True, name="flusher").start()

    def wrote(self, what: Synced, count: int) -> None:
        """Waits while the disk is behind. Raises the `OSError` of a synchronisation that failed."""
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
