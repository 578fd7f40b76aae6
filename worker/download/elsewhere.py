"""Contents that a download need not fetch: they are on this storage, or another download fetches them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from worker.download.channel import Channel
from worker.download.protocol import Located, PassedOn, Waiting


@dataclass(slots=True)
class Elsewhere:
    """By SHA-256: `links`, the paths on this storage where a content may be; `awaited`, contents that others fetch."""

    channel: Channel
    links: dict[str, list[str]] = field(default_factory=dict)
    awaited: frozenset[str] = frozenset()

    def hear(self) -> None:
        """Wait for the worker's answer to the list of contents."""
        located = self.channel.receive(Located)
        self._add(located.links)
        self.awaited = frozenset(located.awaited)

    def passed(self, checksums: Sequence[str]) -> None:
        """Report contents that are left to other downloads from here on."""
        self.channel.send(PassedOn(checksums))

    def wait(self, awaited: Sequence[str], downloaded: int) -> None:
        """Add what others fetched to `links`; contents missing there afterwards must be fetched.

        All else is here, `downloaded` bytes. While others still fetch, the worker may end this process.
        """
        self.channel.send(Waiting(awaited, downloaded))
        self._add(self.channel.receive(Located).links)

    def _add(self, links: Mapping[str, Sequence[str]]) -> None:
        self.links |= {checksum: list(places) for checksum, places in links.items()}
