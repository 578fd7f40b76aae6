"""The storage of the models. Only this package builds paths in it; the rest is written against `app.storage.base`."""

from pathlib import Path

from app.storage.base import Store
from app.storage.posix import PosixStore


def open_store(location: Path, *, keep: float = 0.0) -> Store:
    """Return the store at a location. `keep`: seconds for which what housekeeping removes can be restored."""
    return PosixStore(location, keep=keep)
