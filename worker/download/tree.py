"""An attempt's folder of verified files, which becomes the published folder."""

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from app.domain.errors import Failed, Reason
from app.storage.folders import open_to_all, sync_folder
from worker.download.checksums import verify
from worker.download.listing import HubFile
from worker.download.partial import key
from worker.download.saver import Keep


class VerifiedTree:
    """The `wanted` files in `folder`. `keep` is called with each file that is verified."""

    def __init__(self, folder: Path, wanted: Sequence[HubFile], keep: Keep) -> None:
        self.folder = folder
        self._wanted = wanted
        self._keep = keep

    def has(self, file: HubFile) -> bool:
        """Whether the file is there; its content is not checked."""
        return (self.folder / file.path).exists()

    def accept(self, file: HubFile, path: Path) -> bool:
        """Verify a file; move it into the tree and report it, or remove it. Return whether it is right."""
        sha256 = verify(file, path) if path.is_file() else None
        if sha256 is None:
            path.unlink(missing_ok=True)
            return False
        target = self.folder / file.path
        if path != target:
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
        target.chmod(0o444)
        self._keep(file, sha256)
        return True

    def accept_or_link(self, file: HubFile, sources: Sequence[Path]) -> bool:
        """Link a file to one of `sources` unless it is there, and `accept` it."""
        target = self.folder / file.path
        for source in sources:
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                with suppress(OSError):
                    _link(source, target)
        return self.accept(file, target)

    def link_twins(self) -> None:
        """Link files that have the same content as another file."""
        there = {key(file): file for file in self._wanted if self.has(file)}
        for file in self._wanted:
            target = self.folder / file.path
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(self.folder / there[key(file)].path, target)
                if not self.accept(file, target):
                    raise Failed(Reason.FAULT, f"The storage does not keep what is written to it: {file.path!r}.")

    def remove_strays(self) -> None:
        """Remove what an attempt at another commit left and this one does not want."""
        wanted = {file.path: file.size for file in self._wanted}
        for folder, _, names in os.walk(self.folder, topdown=False):
            for name in names:
                path = Path(folder, name)
                if wanted.get(path.relative_to(self.folder).as_posix()) != path.lstat().st_size:
                    path.unlink()
            if folder != str(self.folder):
                with suppress(OSError):
                    Path(folder).rmdir()  # refused unless it is empty

    def sync(self) -> None:
        """Make the folders readable by all, and sync them."""
        for folder, _, _ in os.walk(self.folder):
            open_to_all(Path(folder))
            sync_folder(Path(folder))


def _link(source: Path, target: Path) -> None:
    """Hard-link a file; copy it where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
