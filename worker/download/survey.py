"""What is there of the wanted files before a download begins. Changes nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from app.storage.incoming import Arrival
from worker.download.elsewhere import Elsewhere
from worker.download.listing import HubFile
from worker.download.partial import Partial, key
from worker.download.ranges import SMALL


@dataclass(frozen=True, slots=True)
class Survey:
    """The wanted files by where their contents are. Of several absent files with the same content, one is listed."""

    here: Sequence[HubFile]
    """In the attempt's tree, or to be linked there; their contents are not checked."""
    awaited: Sequence[HubFile]
    """To be fetched by other downloads."""
    absent: Sequence[HubFile]
    """To be fetched."""
    partials: Mapping[HubFile, Partial]
    """What earlier attempts left of the large ones among the absent files."""

    @classmethod
    def of(
        cls, wanted: Sequence[HubFile], arrival: Arrival, elsewhere: Elsewhere, partial: Callable[[HubFile], Partial]
    ) -> Self:
        here = [file for file in wanted if _is_here(file, arrival, elsewhere)]
        contents = {key(file) for file in here}
        missing = {key(file): file for file in wanted if key(file) not in contents}.values()
        absent = [file for file in missing if file.sha256 not in elsewhere.awaited]
        return cls(
            here=here,
            awaited=[file for file in missing if file.sha256 in elsewhere.awaited],
            absent=absent,
            partials={file: partial(file) for file in absent if file.size > SMALL},
        )

    @property
    def missing(self) -> int:
        """Bytes to fetch."""
        return sum(file.size for file in self.absent) - sum(partial.counted for partial in self.partials.values())

    @property
    def awaited_checksums(self) -> list[str]:
        return [file.sha256 for file in self.awaited if file.sha256]


def _is_here(file: HubFile, arrival: Arrival, elsewhere: Elsewhere) -> bool:
    """Whether a file of that size is there or can be linked."""
    places = elsewhere.links.get(file.sha256 or "", ())
    return arrival.has(file.path, file.size) or any(arrival.is_at(place, file.size) for place in places)
