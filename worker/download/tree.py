"""The verified files of an attempt."""

from collections.abc import Sequence

from app.domain.errors import Failed, Reason
from app.storage.incoming import Arrival
from worker.download.checksums import verify
from worker.download.listing import HubFile
from worker.download.partial import key
from worker.download.saver import Keep


class VerifiedTree:
    """The `wanted` files of an attempt. `keep` is called with each file that is verified."""

    def __init__(self, arrival: Arrival, wanted: Sequence[HubFile], keep: Keep) -> None:
        self._arrival = arrival
        self._wanted = wanted
        self._keep = keep

    def has(self, file: HubFile) -> bool:
        """Whether a file of that size is there; its content is not checked."""
        return self._arrival.has(file.path, file.size)

    def accept(self, file: HubFile) -> bool:
        """Verify a file and report it, or remove it. Return whether it is right."""
        if file.sha256 and self._arrival.sha256(file.path) == file.sha256:  # it was verified when it was stored
            self._keep(file, file.sha256)
            return True
        try:
            with self._arrival.open(file.path) as arrived:
                sha256 = verify(file, arrived)
        except FileNotFoundError:
            return False
        if sha256 is None:
            self._arrival.remove(file.path)
            return False
        self._arrival.accept(file.path)
        self._keep(file, sha256)
        return True

    def accept_or_link(self, file: HubFile, places: Sequence[str]) -> bool:
        """Link a file to one of `places` unless it is there, and `accept` it."""
        if not self.has(file):
            any(self._arrival.link(file.path, place) for place in places)
        return self.accept(file)

    def link_twins(self) -> None:
        """Link files that have the same content as another file."""
        there = {key(file): file for file in self._wanted if self.has(file)}
        for file in self._wanted:
            if not self.has(file):
                self._arrival.twin(file.path, there[key(file)].path)
                if not self.accept(file):
                    raise Failed(Reason.FAULT, f"The storage does not keep what is written to it: {file.path!r}.")

    def remove_strays(self) -> None:
        """Remove what an attempt at another commit left and this one does not want."""
        self._arrival.prune({file.path: file.size for file in self._wanted})

    def sync(self) -> None:
        """Make all files durable and readable for everybody."""
        self._arrival.sync()
