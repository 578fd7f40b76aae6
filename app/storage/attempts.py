"""The folders of attempts at models: who may use them, who takes them over, and the one rename that publishes them."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID

from app.domain.errors import NotYet, Reason, TryAgain
from app.storage.arrival import PosixArrival
from app.storage.base import Attempt
from app.storage.folders import erase
from app.storage.layout import Layout

_LOCK_WAIT = 2.0
"""Seconds until an operation that another process blocks is tried again."""


class Attempts:
    """The attempts' folders in a storage. All methods raise `OSError`."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    @contextmanager
    def alone(self, model_id: UUID) -> Iterator[None]:
        """Keep every other process of this machine out of a model's incoming files. Raises `NotYet`."""
        folder = self._layout.incoming(model_id)
        folder.mkdir(exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            message = "An earlier download of this model is still stopping: this one waits for it."
            raise NotYet(Reason.FAULT, message, after=_LOCK_WAIT) from None
        finally:
            os.close(handle)

    def adopt(self, attempt: Attempt, *, mends: bool = False) -> PosixArrival:
        """Return the attempt's folders, with all that earlier attempts left of the model."""
        scratch, tree = self._layout.scratch(attempt), self._layout.tree(attempt)
        self._take_over(attempt.model_id, scratch, list(self._layout.incoming(attempt.model_id).iterdir()))
        self.remove(attempt.model_id, scratch / "hub")  # huggingface_hub never reuses its unfinished files
        for folder in (scratch, scratch / "parts", scratch / "hub"):
            folder.mkdir(exist_ok=True)
        published, by_older_version = self._layout.published(attempt.model_id), scratch / "tree"
        if not mends and published.is_dir():  # renamed, but its worker died before it recorded that
            self.remove(attempt.model_id, tree)
            with suppress(FileNotFoundError):
                published.rename(tree)
        self._take_over(attempt.model_id, tree, [*self._layout.trees(attempt.model_id), by_older_version])
        tree.mkdir(exist_ok=True)
        return PosixArrival(tree, scratch)

    def claim(self, attempt: Attempt) -> Path:
        """Rename the attempt's verified files; return the new path. Raises `TryAgain` if the attempt was replaced."""
        tree = self._layout.tree(attempt)
        try:
            return tree.rename(tree.with_name(f"{tree.name}.last"))
        except FileNotFoundError:
            raise TryAgain(Reason.CONFLICT, "Another attempt has taken over this download.") from None

    def finish(self, attempt: Attempt) -> None:
        """Remove an attempt's working files."""
        # Only this attempt's own: a worker that was paused above may continue beside its successor.
        self.remove(attempt.model_id, self._layout.tree(attempt))
        self.remove(attempt.model_id, self._layout.scratch(attempt))
        with suppress(OSError):
            self._layout.incoming(attempt.model_id).rmdir()

    def _take_over(self, model_id: UUID, mine: Path, found: list[Path]) -> None:
        """Rename the most complete folder of `found` to `mine`, unless `mine` exists; remove the others."""
        others = []
        for other in found:
            with suppress(FileNotFoundError):
                if other != mine:
                    others.append((other.stat().st_mtime, other))
        # The most complete one is the last modified; there is more than one only after a crash.
        for _, other in sorted(others, reverse=True):
            with suppress(FileNotFoundError):
                if not mine.exists():
                    other.rename(mine)
            self.remove(model_id, other)

    def rename_over(self, attempt: Attempt, target: Path) -> None:
        """Rename the attempt's tree to `target`; a folder there was published by a replaced attempt, and is removed."""
        # Only the owner of the tree may remove the other folder: a successful claim proves ownership.
        mine = self.claim(attempt)
        try:
            try:
                mine.rename(target)
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise
                self.remove(attempt.model_id, target)
                mine.rename(target)
        except FileNotFoundError:  # taken over a moment ago
            raise TryAgain(Reason.CONFLICT, "Another attempt has taken over this download.") from None

    def remove(self, model_id: UUID, folder: Path) -> None:
        """Rename a folder into `trash/`, so that nobody sees half of it, then erase it."""
        trash = self._layout.new_trash(model_id)
        with suppress(FileNotFoundError):
            folder.rename(trash)
        erase(trash)
