"""The layout of the storage: the only module that builds paths of model files.

    incoming/<model id>/<operation id>.<fence>/   one attempt's files in flight
        parts/                                    over plain HTTP
        hub/                                      what snapshot_download fetches
    verified/<model id>.<operation id>.<fence>/   that attempt's complete, verified files
    models/<model id>/                            a published model: always complete
    by-name/<owner>/<name>                        a link to it, for engines
    depot/                                        the storage's mark and the manifests: see app.storage.manifests
    trash/<model id>.<random>/                    what is being removed
    removed/<model id>.<seconds>/                 a removed model that can be restored: see app.storage.trash

All are on one file system, so that publishing is one rename. An attempt takes over its predecessor's files by renaming
the predecessor's folders to its own names.

A network file system's client caches name lookups, so a path through a folder that another machine renamed keeps
working for a while (1 s on JuiceFS, up to 60 s on NFS). Only the last component of a rename is always looked up by the
server. So publishing renames `verified/<model id>.<operation id>.<fence>` itself: `verified` and `models` never move,
so exactly one of an attempt and its successor finds that name.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from uuid import UUID, uuid4

from app.domain.errors import NotYet, Reason, TryAgain
from app.storage.abilities import PREFIX
from app.storage.folders import erase, open_to_all, sync_folder, taken
from app.storage.links import Links
from app.storage.manifests import Manifest, Manifests
from app.storage.names import as_id
from app.storage.trash import Trash

FOLDERS = ("incoming", "verified", "models", "by-name", "depot", "trash", "removed")
_LOCK_WAIT = 2.0
"""Seconds until an operation that another process blocks is tried again."""
_TRIED = 3600.0
"""Age in seconds from which a test folder of `check_abilities` is a leftover."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at one model; its folders are named after it."""

    model_id: UUID
    operation_id: UUID
    fence: int

    @property
    def name(self) -> str:
        return f"{self.operation_id}.{self.fence}"


@dataclass(frozen=True, slots=True)
class Arrival:
    """The folders of one attempt."""

    tree: Path
    """Files that are complete and verified, by their paths in the repository."""
    scratch: Path
    """`parts` and `hub`: files in flight."""


class Storage:
    """The folder that holds the models. `keep`: seconds for which a model that housekeeping removed can be restored."""

    def __init__(self, root: Path, *, keep: float = 0.0) -> None:
        self.root = root
        self.keep = keep
        self.manifests = Manifests(root / "depot")
        self.trash = Trash(root / "removed")
        self.links = Links(root / "by-name")

    def prepare(self) -> None:
        """Create the storage, with missing parent folders. Raises `OSError`."""
        if not self.root.exists():
            self.root.mkdir(parents=True, exist_ok=True)
            open_to_all(self.root)
        self.make_folders()

    def make_folders(self) -> None:
        """Create the folders of an existing storage; one that is not mounted is not created. Raises `OSError`."""
        for name in FOLDERS:
            (self.root / name).mkdir(exist_ok=True)
        for name in ("models", "by-name"):
            open_to_all(self.root / name)

    def free(self) -> int:
        """Return the bytes that can still be written."""
        return shutil.disk_usage(self.root).free

    def scratch(self, attempt: Attempt) -> Path:
        return self.incoming(attempt.model_id) / attempt.name

    def tree(self, attempt: Attempt) -> Path:
        return self.root / "verified" / f"{attempt.model_id}.{attempt.name}"

    def published(self, model_id: UUID) -> Path:
        return self.root / "models" / str(model_id)

    def incoming(self, model_id: UUID) -> Path:
        return self.root / "incoming" / str(model_id)

    def find(self, model_id: UUID, path: str) -> list[Path]:
        """Return where a model's verified file is, or will be if it is published meanwhile; empty if nowhere."""
        trees = (*self._trees(model_id), self.published(model_id))
        places = [tree / path for tree in trees]
        return places if any(place.is_file() for place in places) else []

    @contextmanager
    def alone(self, model_id: UUID) -> Iterator[None]:
        """Keep every other process of this machine out of a model's incoming files. Raises `NotYet`."""
        folder = self.incoming(model_id)
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

    def check_alone(self, model_id: UUID) -> None:
        """Raise `NotYet` while another process uses a model's incoming files, `TryAgain` if the storage is unusable."""
        try:
            if self.incoming(model_id).exists():
                with self.alone(model_id):
                    pass
        except OSError as error:
            message = f"The storage can't be used: {error.strerror}. Look at what is mounted at DEPOT_STORAGE."
            raise TryAgain(Reason.FAULT, message) from error

    def adopt(self, attempt: Attempt, *, mends: bool = False) -> Arrival:
        """Return the attempt's folders, with all that earlier attempts left of the model.

        An attempt that `mends` a published model leaves that in place.
        """
        scratch, tree = self.scratch(attempt), self.tree(attempt)
        self._take_over(attempt.model_id, scratch, list(self.incoming(attempt.model_id).iterdir()))
        self._remove(attempt.model_id, scratch / "hub")  # huggingface_hub never reuses its unfinished files
        for folder in (scratch, scratch / "parts", scratch / "hub"):
            folder.mkdir(exist_ok=True)
        published, by_older_version = self.published(attempt.model_id), scratch / "tree"
        if not mends and published.is_dir():  # renamed, but its worker died before it recorded that
            self._remove(attempt.model_id, tree)
            with suppress(FileNotFoundError):
                published.rename(tree)
        self._take_over(attempt.model_id, tree, [*self._trees(attempt.model_id), by_older_version])
        tree.mkdir(exist_ok=True)
        return Arrival(tree, scratch)

    def claim(self, attempt: Attempt) -> Path:
        """Rename the attempt's verified files; return the new path. Raises `TryAgain` if the attempt was replaced."""
        tree = self.tree(attempt)
        try:
            return tree.rename(tree.with_name(f"{tree.name}.last"))
        except FileNotFoundError:
            raise TryAgain(Reason.CONFLICT, "Another attempt has taken over this download.") from None

    def publish(self, attempt: Attempt, manifest: Manifest | None = None) -> Path:
        """Publish the attempt's verified files as the model. Raises `TryAgain` if the attempt was replaced."""
        target = self.published(attempt.model_id)
        if manifest:
            self.manifests.draft(attempt.name, manifest)
        try:
            self._rename_over(attempt, target)
        except TryAgain:
            self.manifests.forget_draft(attempt.model_id, attempt.name)
            raise
        if manifest:
            self.manifests.confirm(attempt.model_id, attempt.name)
        sync_folder(target.parent)
        self.finish(attempt)
        return target

    def finish(self, attempt: Attempt) -> None:
        """Remove an attempt's working files."""
        # Only this attempt's own: a worker that was paused above may continue beside its successor.
        self._remove(attempt.model_id, self.tree(attempt))
        self._remove(attempt.model_id, self.scratch(attempt))
        with suppress(OSError):
            self.incoming(attempt.model_id).rmdir()

    def discard(self, model_id: UUID, label: PurePosixPath) -> None:
        """Remove a model's files and link. Idempotent. Raises `OSError`, or `NotYet` while a file is written."""
        self.links.remove(label, model_id)
        self.discard_incoming(model_id)
        self._remove(model_id, self.published(model_id))
        self.manifests.forget(model_id)
        # Left by a process that died while it removed this model.
        for trash in (self.root / "trash").glob(f"{model_id}.*"):
            erase(trash)

    def discard_incoming(self, model_id: UUID) -> None:
        """Remove a model's unpublished files. Raises `OSError`, or `NotYet` while they are written."""
        with self.alone(model_id):
            for tree in self._trees(model_id):
                self._remove(model_id, tree)
            self._remove(model_id, self.incoming(model_id))

    def published_ids(self) -> set[UUID]:
        """Return the ids of models with a published folder. Raises `OSError`."""
        return _ids(self.root / "models")

    def arriving_ids(self) -> set[UUID]:
        """Return the ids of models with unpublished files. Raises `OSError`."""
        return _ids(self.root / "incoming") | _ids(self.root / "verified")

    def arriving(self, model_id: UUID) -> list[Path]:
        """Return the folders of a model's unpublished files."""
        return [folder for folder in (self.incoming(model_id), *self._trees(model_id)) if folder.exists()]

    def arrived(self) -> dict[UUID, int]:
        """Return the bytes on disk of each model's unpublished files, preallocated bytes included."""
        return {model_id: sum(map(taken, self.arriving(model_id))) for model_id in self.arriving_ids()}

    def take_away(self, model_id: UUID) -> None:
        """Move a published model to the trash, from where it can be restored, and remove its links. Raises `OSError`."""
        self.trash.put(model_id, self.published(model_id))
        self.links.remove_all(model_id)

    def empty_trash(self, now: float) -> None:
        """Remove expired models, and what dead processes left half removed. `now` is Unix time in seconds."""
        for entry in self.trash.entries():
            if not 0 <= now - entry.since < self.keep:
                self._remove(entry.model_id, entry.path)
                self._forget_manifest(entry.model_id)
        for trash in (self.root / "trash").iterdir():
            erase(trash)
        for tried in self.root.glob(f"*/{PREFIX}*"):
            with suppress(FileNotFoundError):
                if now - tried.stat().st_mtime > _TRIED:
                    erase(tried)

    def forget(self, model_id: UUID) -> None:
        """Remove a model's folders from the trash. Raises `OSError`."""
        for entry in self.trash.entries():
            if entry.model_id == model_id:
                self._remove(model_id, entry.path)
        self._forget_manifest(model_id)

    def _forget_manifest(self, model_id: UUID) -> None:
        if not self.published(model_id).exists():
            self.manifests.forget(model_id)

    def _trees(self, model_id: UUID) -> list[Path]:
        return list((self.root / "verified").glob(f"{model_id}.*"))

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
            self._remove(model_id, other)

    def _rename_over(self, attempt: Attempt, target: Path) -> None:
        """Rename the attempt's tree to `target`; a folder there was published by a replaced attempt, and is removed."""
        # Only the owner of the tree may remove the other folder: a successful claim proves ownership.
        mine = self.claim(attempt)
        try:
            try:
                mine.rename(target)
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise
                self._remove(attempt.model_id, target)
                mine.rename(target)
        except FileNotFoundError:  # taken over a moment ago
            raise TryAgain(Reason.CONFLICT, "Another attempt has taken over this download.") from None

    def _remove(self, model_id: UUID, folder: Path) -> None:
        """Rename a folder into `trash/`, so that nobody sees half of it, then erase it."""
        trash = self.root / "trash" / f"{model_id}.{uuid4().hex}"
        with suppress(FileNotFoundError):
            folder.rename(trash)
        erase(trash)


def _ids(folder: Path) -> set[UUID]:
    """Return the model ids that the names in a folder begin with."""
    return {model_id for path in folder.iterdir() if (model_id := as_id(path.name.partition(".")[0]))}
