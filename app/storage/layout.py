"""The layout of a storage that is a folder: the only module that builds paths in it.

    incoming/<model id>/<operation id>.<fence>/   one attempt's files in flight
        parts/                                    partial files
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

from pathlib import Path
from uuid import UUID, uuid4

from app.storage.base import Attempt
from app.storage.names import as_id

FOLDERS = ("incoming", "verified", "models", "by-name", "depot", "trash", "removed")


class Layout:
    """The paths below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.by_name = root / "by-name"
        self.depot = root / "depot"
        self.trash = root / "trash"
        self.removed = root / "removed"
        self.mark = self.depot / "mark"

    def folders(self) -> list[Path]:
        return [self.root / name for name in FOLDERS]

    def open_folders(self) -> list[Path]:
        """Return the folders that engines read."""
        return [self.root / "models", self.by_name]

    def published(self, model_id: UUID) -> Path:
        return self.root / "models" / str(model_id)

    def incoming(self, model_id: UUID) -> Path:
        return self.root / "incoming" / str(model_id)

    def scratch(self, attempt: Attempt) -> Path:
        return self.incoming(attempt.model_id) / attempt.name

    def tree(self, attempt: Attempt) -> Path:
        return self.root / "verified" / f"{attempt.model_id}.{attempt.name}"

    def trees(self, model_id: UUID) -> list[Path]:
        """Return the verified files of all attempts at a model."""
        return list((self.root / "verified").glob(f"{model_id}.*"))

    def arriving(self, model_id: UUID) -> list[Path]:
        """Return the folders of a model's unpublished files."""
        return [folder for folder in (self.incoming(model_id), *self.trees(model_id)) if folder.exists()]

    def new_trash(self, model_id: UUID) -> Path:
        return self.trash / f"{model_id}.{uuid4().hex}"

    def trash_of(self, model_id: UUID) -> list[Path]:
        return list(self.trash.glob(f"{model_id}.*"))

    def published_ids(self) -> set[UUID]:
        """Return the ids of models with a published folder. Raises `OSError`."""
        return _ids(self.root / "models")

    def arriving_ids(self) -> set[UUID]:
        """Return the ids of models with unpublished files. Raises `OSError`."""
        return _ids(self.root / "incoming") | _ids(self.root / "verified")


def _ids(folder: Path) -> set[UUID]:
    """Return the model ids that the names in a folder begin with."""
    return {model_id for path in folder.iterdir() if (model_id := as_id(path.name.partition(".")[0]))}
