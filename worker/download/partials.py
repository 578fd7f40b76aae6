"""Chooses what a file arrives in, by where the attempt's files are."""

from concurrent.futures import ThreadPoolExecutor

from app.storage.incoming import Arrival, LocalArrival, UploadArrival
from worker.download.buffers import Buffers
from worker.download.disk import DiskPartial
from worker.download.flusher import Flusher
from worker.download.listing import HubFile
from worker.download.partial import Partial
from worker.download.uploaded import UploadedPartial

_SENDERS = 6
"""Threads that send parts, for all files."""


class Partials:
    """The files of one download that arrive, and what they share. `memory`: bytes for those that are uploaded."""

    def __init__(self, arrival: Arrival, memory: int = 0) -> None:
        self._arrival = arrival
        self._flusher = Flusher()
        self._buffers = Buffers(memory)
        self._senders = ThreadPoolExecutor(_SENDERS, thread_name_prefix="sender")

    def open(self, file: HubFile) -> Partial:
        """Return what earlier attempts left of a file, or an empty one. Changes nothing."""
        arrival = self._arrival
        if isinstance(arrival, LocalArrival):
            return DiskPartial(file, arrival, self._flusher)
        if isinstance(arrival, UploadArrival):
            return UploadedPartial(file, arrival, self._buffers, self._senders)
        raise TypeError(f"{type(arrival).__name__} is no arrival that files can be fetched into")
