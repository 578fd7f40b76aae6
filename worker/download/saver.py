"""Writes small files, which are fetched whole: verifies them and syncs them to disk."""

from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor

from app.storage.incoming import Arrival
from worker.download.checksums import Checksum
from worker.download.listing import HubFile

_THREADS = 4
_UNSAVED = 64
"""Most files that may wait to be written."""

Keep = Callable[[HubFile, str], None]
"""Called with each file that is verified and in its place, and its SHA-256."""


class Saver:
    """Writes files of an attempt. `refuse` is called with each file that differs from the manifest."""

    def __init__(self, arrival: Arrival, keep: Keep, refuse: Callable[[HubFile], None]) -> None:
        self._arrival, self._keep, self._refuse = arrival, keep, refuse
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="saver")
        self._saving: set[Future[None]] = set()

    @property
    def is_full(self) -> bool:
        return len(self._saving) >= _UNSAVED

    def is_done(self, *, within: float = 0.0) -> bool:
        """Whether all are written; wait up to `within` seconds for that. Raises the error of a failed write."""
        if within:
            futures.wait(self._saving, within)
        for future in [future for future in self._saving if future.done()]:
            self._saving.discard(future)
            future.result()
        return not self._saving

    def save(self, file: HubFile, data: bytes) -> None:
        self._saving.add(self._pool.submit(self._save, file, data))

    def end(self, *, wait: bool) -> None:
        self._pool.shutdown(wait=wait, cancel_futures=True)

    def _save(self, file: HubFile, data: bytes) -> None:
        checksum = Checksum(file)
        checksum.update(data)
        if checksum.matches():
            self._arrival.put(file.path, data)
            self._keep(file, checksum.sha256)
        else:
            self._refuse(file)
