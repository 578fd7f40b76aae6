"""Where model files are: the only module that builds their paths.

    incoming/<model id>/<operation id>.<fence>/   one attempt's files while they arrive
        tree/                                     those that are complete and verified
        parts/                                    those in flight
        hub/                                      what snapshot_download fetches
    models/<model id>/                            a published model: complete, always
    by-name/<owner>/<name>                        a link to it, for engines
    trash/<model id>.<random>/                    what is being removed

All of it is one file system, so that publishing is one rename. An attempt takes over what the one before it left by
renaming that attempt's folder to its own name: whoever was replaced finds its paths gone, and can publish nothing.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path, PurePosixPath
from urllib.parse import quote
from uuid import UUID, uuid4

from app.domain.errors import Failed, NotYet, Reason, TryAgain

_MAX_PATH_BYTES = 1000
_MAX_PART_BYTES = 255
_LOCK_WAIT = 2.0
"""Seconds until an operation that another process is in the way of is tried again."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """Which attempt at which model: what its folder is called after."""

    model_id: UUID
    operation_id: UUID
    fence: int


class Storage:
    """The folder that models are kept in."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def prepare(self) -> None:
        """Make the folders. Raises `OSError`."""
        for name in ("incoming", "models", "by-name", "trash"):
            (self.root / name).mkdir(parents=True, exist_ok=True)

    def free(self) -> int:
        """Bytes that can still be written."""
        return shutil.disk_usage(self.root).free

    def attempt(self, attempt: Attempt) -> Path:
        return self.incoming(attempt.model_id) / f"{attempt.operation_id}.{attempt.fence}"

    def published(self, model_id: UUID) -> Path:
        return self.root / "models" / str(model_id)

    def incoming(self, model_id: UUID) -> Path:
        return self.root / "incoming" / str(model_id)

    def find(self, model_id: UUID, path: str) -> list[Path]:
        """Where a verified file of a model is, or will be if the model is published at this moment; empty if nowhere."""
        trees = (*self.incoming(model_id).glob("*/tree"), self.published(model_id))
        places = [tree / path for tree in trees]
        return places if any(place.is_file() for place in places) else []

    @contextmanager
    def alone(self, model_id: UUID) -> Iterator[None]:
        """Keeps every other process of this machine out of a model's incoming files. Raises `NotYet`."""
        folder = self.incoming(model_id)
        folder.mkdir(parents=True, exist_ok=True)
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
        """Raise `NotYet` while another process is at a model's incoming files, `TryAgain` if the storage can't be used."""
        try:
            if self.incoming(model_id).exists():
                with self.alone(model_id):
                    pass
        except OSError as error:
            message = f"The storage can't be used: {error.strerror}. Look at what is mounted at DEPOT_STORAGE."
            raise TryAgain(Reason.FAULT, message) from error

    def adopt(self, attempt: Attempt) -> Path:
        """The attempt's folder, with all that earlier ones left of the model in it."""
        mine = self.attempt(attempt)
        others = [other for other in self.incoming(attempt.model_id).iterdir() if other != mine]
        # Of several, the one that got furthest is the one last touched; there is more than one only after a crash.
        others.sort(key=lambda other: other.stat().st_mtime)
        if others and not mine.exists():
            others.pop().rename(mine)
        for other in others:
            self._remove(attempt.model_id, other)
        self._remove(attempt.model_id, mine / "hub")  # huggingface_hub never looks at what it left unfinished
        for name in ("tree", "parts", "hub"):
            (mine / name).mkdir(parents=True, exist_ok=True)
        published = self.published(attempt.model_id)
        if published.is_dir():  # renamed, but its worker died before it could say so
            self._remove(attempt.model_id, mine / "tree")
            published.rename(mine / "tree")
        return mine

    def publish(self, attempt: Attempt) -> Path:
        """Make the attempt's verified files the model's. Raises `TryAgain` when the attempt was replaced."""
        target = self.published(attempt.model_id)
        try:
            (self.attempt(attempt) / "tree").rename(target)
        except FileNotFoundError:
            raise TryAgain(Reason.CONFLICT, "Another attempt has taken over this download.") from None
        sync_folder(target.parent)
        # Only what is this attempt's own: a worker that was paused above may go on beside its successor.
        self._remove(attempt.model_id, self.attempt(attempt))
        with suppress(OSError):
            self.incoming(attempt.model_id).rmdir()
        return target

    def link(self, model_id: UUID, label: PurePosixPath) -> Path:
        """Point `by-name/<label>` at a published model."""
        link = self.root / "by-name" / label
        fresh = link.parent / f".{uuid4().hex}"
        while True:
            link.parent.mkdir(parents=True, exist_ok=True)
            # The folder goes when the owner's last other model is deleted, which may be at this moment.
            with suppress(FileNotFoundError):
                fresh.symlink_to(os.path.relpath(self.published(model_id), link.parent))
                fresh.replace(link)
                return link

    def discard(self, model_id: UUID, label: PurePosixPath) -> None:
        """Remove every file of a model and its link. May be repeated. Raises `OSError`, or `NotYet` while one is written."""
        self._unlink(self.root / "by-name" / label, model_id)
        self.discard_incoming(model_id)
        self._remove(model_id, self.published(model_id))
        # What whoever died while removing some of this model has left.
        for trash in (self.root / "trash").glob(f"{model_id}.*"):
            _erase(trash)

    def discard_incoming(self, model_id: UUID) -> None:
        """Remove what arrived of a model so far. Raises `OSError`, or `NotYet` while it is written."""
        with self.alone(model_id):
            self._remove(model_id, self.incoming(model_id))

    def model_ids(self) -> set[UUID]:
        """Those of which something is here: files that arrive, published ones, or a link."""
        folders = [path for name in ("incoming", "models") for path in (self.root / name).iterdir()]
        return {UUID(path.name) for path in folders if _is_id(path.name)} | {model_id for _, model_id in self._links()}

    def seconds_untouched(self, model_id: UUID) -> float:
        """How long nothing has changed in the folders of what arrives of a model; for ever if there is nothing."""
        folder = self.incoming(model_id)
        changes = [path.stat().st_mtime for path in (folder, *folder.glob("*"), *folder.glob("*/*")) if path.exists()]
        return time.time() - max(changes) if changes else inf

    def remove_orphan(self, model_id: UUID, *, published: bool) -> bool:
        """Remove what is left of a model that is no more; of its complete files only if `published`. False if nothing.

        Raises `OSError`, or `NotYet` while it is written.
        """
        removed = False
        if self.incoming(model_id).exists():
            self.discard_incoming(model_id)
            removed = True
        if published and self.published(model_id).exists():
            self._remove(model_id, self.published(model_id))
            removed = True
        if not self.published(model_id).exists():
            for link in [link for link, target in self._links() if target == model_id]:
                self._unlink(link, model_id)
                removed = True
        return removed

    def empty_trash(self) -> None:
        """Finish what whoever died while removing has left."""
        for trash in (self.root / "trash").iterdir():
            _erase(trash)

    def _links(self) -> Iterator[tuple[Path, UUID]]:
        for link in (self.root / "by-name").glob("*/*"):
            with suppress(OSError):  # gone meanwhile, or none of ours
                target = link.readlink().name
                if _is_id(target):
                    yield link, UUID(target)

    def _unlink(self, link: Path, model_id: UUID) -> None:
        with suppress(OSError):
            if link.readlink().name == str(model_id):
                link.unlink()
                link.parent.rmdir()  # refused unless it is empty

    def _remove(self, model_id: UUID, folder: Path) -> None:
        """Out of sight in one step, so that nobody sees half of it, then gone."""
        trash = self.root / "trash" / f"{model_id}.{uuid4().hex}"
        with suppress(FileNotFoundError):
            folder.rename(trash)
        _erase(trash)


def label(name: str, revision: str, fingerprint: str, *, patterns: bool) -> PurePosixPath:
    """Where a model is found by its name: `owner/name`, `@revision` unless it is main, `~` and 8 digits for patterns."""
    owner, _, repository = name.partition("/")
    if revision != "main":
        repository += f"@{quote(revision, safe='')}"
    if patterns:
        repository += f"~{fingerprint[:8]}"
    return PurePosixPath(owner, repository)


def check_paths(paths: Sequence[str]) -> None:
    """Refuse a repository whose files can't all be kept under one folder. Raises `Failed`."""
    seen = set(paths)
    for path in paths:
        parts = path.split("/")
        if (
            not path
            or "\0" in path
            or any(part in {"", ".", ".."} for part in parts)
            or len(path.encode(errors="surrogatepass")) > _MAX_PATH_BYTES
            or any(len(part.encode(errors="surrogatepass")) > _MAX_PART_BYTES for part in parts)
            or any("\ud800" <= character <= "\udfff" for character in path)
        ):
            raise Failed(
                Reason.UNSUPPORTED,
                f"The repository holds a file that can't be stored safely under its name: {path[:100]!a}. "
                "Leave it out with 'exclude', or tell the repository's owner.",
            )
        if any("/".join(parts[:depth]) in seen for depth in range(1, len(parts))):
            raise Failed(
                Reason.UNSUPPORTED, f"The repository holds a file and a folder of the same name: {path[:100]!a}."
            )
    if len(seen) < len(paths):
        raise Failed(Reason.UNSUPPORTED, "The repository lists a file twice under the same name.")


def _is_id(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False


def _erase(folder: Path) -> None:
    while folder.exists():
        # Somebody else may be removing the same files.
        with suppress(FileNotFoundError):
            shutil.rmtree(folder)


def sync_folder(folder: Path) -> None:
    """Make what was renamed into `folder` outlast a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
