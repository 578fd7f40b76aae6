"""A store in a folder of a POSIX file system. Publishing is one rename; `app.storage.layout` says where things are."""

import errno
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from uuid import UUID, uuid4

from app.domain.errors import Reason, TryAgain
from app.storage import abilities, inspection
from app.storage.arrival import PosixArrival
from app.storage.attempts import Attempts
from app.storage.base import Attempt, ModelUsage, Removed, Signed, Space
from app.storage.folders import erase, make_folder, open_to_all, sync_folder, taken
from app.storage.layout import Layout
from app.storage.links import Links
from app.storage.manifests import Manifest, Manifests
from app.storage.reading import LocalFile, open_inside
from app.storage.trash import Trash

_TRIED = 3600.0
"""Age in seconds from which a test folder of `check_abilities` is a leftover."""


class PosixStore:
    """The folder `root`. `keep`: seconds for which a model that housekeeping removed can be restored."""

    def __init__(self, root: Path, *, keep: float = 0.0) -> None:
        self.layout = Layout(root)
        self.keep = keep
        self._root = root
        self._attempts = Attempts(self.layout)
        self._manifests = Manifests(self.layout.depot)
        self._trash = Trash(self.layout.removed)
        self._links = Links(self.layout.by_name)

    @property
    def location(self) -> str:
        return str(self._root)

    @property
    def advice(self) -> str:
        return f"Look at what is mounted at DEPOT_STORAGE, which is {self._root}."

    def prepare(self) -> None:
        if not self._root.exists():
            self._root.mkdir(parents=True, exist_ok=True)
            open_to_all(self._root)
        self.complete()

    def complete(self) -> None:
        for folder in self.layout.folders():
            folder.mkdir(exist_ok=True)
        for folder in self.layout.open_folders():
            open_to_all(folder)

    def check_writable(self) -> None:
        self._root.stat()
        if not os.access(self._root, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "no permission to write")

    def check_abilities(self) -> bool:
        return abilities.check_abilities(self._root)

    def mark(self) -> UUID | None:
        try:
            return UUID(self.layout.mark.read_text().strip())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None

    def write_mark(self, mark: UUID) -> None:
        self.layout.depot.mkdir(exist_ok=True)
        fresh = self.layout.mark.with_name(f".{uuid4().hex}")
        fresh.write_text(f"{mark}\n")
        fresh.chmod(0o644)
        fresh.replace(self.layout.mark)

    def space(self) -> Space:
        usage = shutil.disk_usage(self._root)
        return Space(usage.total - usage.free, usage.free)

    def measure(self) -> tuple[Mapping[UUID, ModelUsage], int]:
        return inspection.measure(self.layout)

    @contextmanager
    def arrival(self, attempt: Attempt, *, mends: bool = False) -> Iterator[PosixArrival]:
        with self._attempts.alone(attempt.model_id):
            yield self._attempts.adopt(attempt, mends=mends)

    def check_alone(self, model_id: UUID) -> None:
        try:
            if self.layout.incoming(model_id).exists():
                with self._attempts.alone(model_id):
                    pass
        except OSError as error:
            message = f"The storage can't be used: {error.strerror}. {self.advice}"
            raise TryAgain(Reason.FAULT, message) from error

    def arriving_ids(self) -> set[UUID]:
        return self.layout.arriving_ids()

    def arrived(self) -> Mapping[UUID, int]:
        return {model_id: sum(map(taken, self.layout.arriving(model_id))) for model_id in self.arriving_ids()}

    def last_change(self, model_id: UUID) -> float:
        return inspection.last_change(self.layout.arriving(model_id))

    def discard_incoming(self, model_id: UUID) -> None:
        with self._attempts.alone(model_id):
            for tree in self.layout.trees(model_id):
                self._attempts.remove(model_id, tree)
            self._attempts.remove(model_id, self.layout.incoming(model_id))

    def publish(self, attempt: Attempt, manifest: Manifest) -> None:
        target = self.layout.published(attempt.model_id)
        self._manifests.draft(attempt.name, manifest)
        try:
            self._attempts.rename_over(attempt, target)
        except TryAgain:
            self._manifests.forget_draft(attempt.model_id, attempt.name)
            raise
        self._manifests.confirm(attempt.model_id, attempt.name)
        sync_folder(target.parent)
        self._attempts.finish(attempt)

    def mend(self, attempt: Attempt, manifest: Manifest) -> None:
        target = self.layout.published(attempt.model_id)
        if not target.exists():
            self.publish(attempt, manifest)
            return
        # On a mount that caches names, the folder's old name may lead to one that another attempt took over.
        tree = self._attempts.claim(attempt)
        self._manifests.write(manifest)
        for path in inspection.files_below(tree):
            place = target / path
            make_folder(place.parent)
            (tree / path).rename(place)
            sync_folder(place.parent)
        wanted = {file.path for file in manifest.files}
        for path in inspection.files_below(target):
            if path.as_posix() not in wanted:
                (target / path).unlink()
        erase(tree)
        self._attempts.finish(attempt)

    def path(self, label: PurePosixPath, model_id: UUID) -> str:  # noqa: ARG002  # the link is the same for every model
        return str(self.layout.by_name / label)

    def link(self, label: PurePosixPath, model_id: UUID) -> str:
        return str(self._links.put(label, self.layout.published(model_id)))

    def unlink(self, model_id: UUID) -> None:
        self._links.remove_all(model_id)

    def linked_ids(self) -> set[UUID]:
        return {model_id for _, model_id in self._links.all()}

    def published_ids(self) -> set[UUID]:
        return self.layout.published_ids()

    def has(self, model_id: UUID) -> bool:
        return self.layout.published(model_id).is_dir()

    def find(self, model_id: UUID, path: str) -> list[str]:
        trees = (*self.layout.trees(model_id), self.layout.published(model_id))
        places = [tree / path for tree in trees]
        return [str(place) for place in places] if any(place.is_file() for place in places) else []

    def copy_of(self, model_id: UUID, path: str) -> str:
        return str(self.layout.published(model_id) / path)

    def open(self, model_id: UUID, path: str) -> LocalFile:
        return open_inside(self.layout.published(model_id), path)

    def sign(self, model_id: UUID, paths: Sequence[str]) -> Signed | None:  # noqa: ARG002  # a folder has no addresses
        return None

    def check(self, model_id: UUID, recorded: Mapping[str, tuple[int, str]], *, deep: bool = True) -> list[str]:  # noqa: ARG002  # nothing but its bytes tells of a file
        return inspection.check_files(self.layout.published(model_id), recorded)

    def discard(self, model_id: UUID, label: PurePosixPath) -> None:
        self._links.remove(label, model_id)
        self.discard_incoming(model_id)
        self._attempts.remove(model_id, self.layout.published(model_id))
        self._manifests.forget(model_id)
        # Left by a process that died while it removed this model.
        for trash in self.layout.trash_of(model_id):
            erase(trash)

    def record(self, manifest: Manifest) -> None:
        self._manifests.write(manifest)

    def records(self, model_id: UUID) -> Iterator[Manifest]:
        return self._manifests.of(model_id)

    def recorded_ids(self) -> set[UUID]:
        return self._manifests.ids()

    def take_away(self, model_id: UUID) -> None:
        self._trash.put(model_id, self.layout.published(model_id))
        self.unlink(model_id)

    def restore(self, model_id: UUID) -> bool:
        return self._trash.restore(model_id, self.layout.published(model_id))

    def removed(self) -> Iterator[Removed]:
        return (Removed(entry.model_id, entry.since) for entry in self._trash.entries())

    def forget(self, model_id: UUID) -> None:
        for entry in self._trash.entries():
            if entry.model_id == model_id:
                self._attempts.remove(model_id, entry.path)
        self._forget_manifest(model_id)

    def empty_trash(self, now: float) -> None:
        for entry in self._trash.entries():
            if not 0 <= now - entry.since < self.keep:
                self._attempts.remove(entry.model_id, entry.path)
                self._forget_manifest(entry.model_id)
        for trash in self.layout.trash.iterdir():
            erase(trash)
        for tried in self._root.glob(f"*/{abilities.PREFIX}*"):
            with suppress(FileNotFoundError):
                if now - tried.stat().st_mtime > _TRIED:
                    erase(tried)

    def _forget_manifest(self, model_id: UUID) -> None:
        if not self.layout.published(model_id).exists():
            self._manifests.forget(model_id)
