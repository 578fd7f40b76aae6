"""How a download fetches files."""

from dataclasses import dataclass

from worker.download.retries import RetryPolicy
from worker.download.stalls import StallLimit


@dataclass(frozen=True, slots=True)
class DownloadOptions:
    connections: int
    """Most connections for large files."""
    retries: RetryPolicy
    stall: StallLimit
    xet: str
    """Whether files are fetched over Xet: "auto", "on" or "off"."""
    snapshot: bool
    """Whether huggingface_hub fetches them instead of this worker's own code."""
