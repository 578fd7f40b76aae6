"""Chooses what a file arrives in, by where the attempt's files are."""

from app.storage.incoming import LocalArrival
from worker.download.disk import DiskPartial
from worker.download.flusher import Flusher
from worker.download.listing import HubFile
from worker.download.partial import Partial


class Partials:
    """The files of one download that arrive, and what they share."""

    def __init__(self, arrival: LocalArrival) -> None:
        self._arrival = arrival
        self._flusher = Flusher()

    def open(self, file: HubFile) -> Partial:
        """Return what earlier attempts left of a file, or an empty one. Changes nothing."""
        return DiskPartial(file, self._arrival, self._flusher)
