"""What housekeeping and `modeldepot storage prune` removed, kept a while: `removed/<model id>.<Unix seconds>/`."""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from uuid import UUID


class Entry(NamedTuple):
    """A published model's folder that was moved here at `since`, in seconds since 1970."""

    model_id: UUID
    since: int
    path: Path


class Trash:
    """The folder `removed` of a storage. All methods raise `OSError`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, model_id: UUID, folder: Path) -> None:
        """Move a published model's folder here, in one rename."""
        self._folder.mkdir(exist_ok=True)
        since = int(time.time())
        while (place := self._folder / f"{model_id}.{since}").exists():
            since += 1
        folder.rename(place)

    def restore(self, model_id: UUID, target: Path) -> bool:
        """Restore a model's newest folder. Return False if there is none. Raises `FileExistsError`."""
        entries = [entry for entry in self.entries() if entry.model_id == model_id]
        if not entries:
            return False
        if target.exists():
            raise FileExistsError(0, f"{target} is there already")
        max(entries, key=lambda entry: entry.since).path.rename(target)
        return True

    def entries(self) -> Iterator[Entry]:
        for path in sorted(self._folder.glob("*.*")):
            name, _, since = path.name.partition(".")
            with suppress(ValueError):
                yield Entry(UUID(name), int(since), path)
