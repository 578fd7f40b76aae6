"""The links by which engines find models: `by-name/<owner>/<name>` leads to `models/<model id>`."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from uuid import UUID, uuid4

from app.storage.folders import make_folder
from app.storage.names import as_id


class Links:
    """The folder `by-name` of a storage; labels are `owner/name`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, label: PurePosixPath, published: Path) -> Path:
        """Point the label at a published model's folder. Raises `OSError`."""
        link = self._folder / label
        fresh = link.parent / f".{uuid4().hex}"
        while True:
            make_folder(link.parent)
            # The folder is removed with the owner's last other model, which may happen at this moment.
            with suppress(FileNotFoundError):
                fresh.symlink_to(os.path.relpath(published, link.parent))
                fresh.replace(link)
                return link

    def remove(self, label: PurePosixPath, model_id: UUID) -> None:
        """Remove the link, unless it leads to another model."""
        link = self._folder / label
        with suppress(OSError):
            if link.readlink().name == str(model_id):
                link.unlink()
                link.parent.rmdir()  # refused unless it is empty

    def remove_all(self, model_id: UUID) -> None:
        """Remove every link to a model."""
        for label in [label for label, target in self.all() if target == model_id]:
            self.remove(label, model_id)

    def all(self) -> Iterator[tuple[PurePosixPath, UUID]]:
        """Yield each label with the id of the model that it leads to, which may not exist."""
        for link in self._folder.glob("*/*"):
            with suppress(OSError):  # removed meanwhile, or not a link of this storage
                if model_id := as_id(link.readlink().name):
                    yield PurePosixPath(link.relative_to(self._folder)), model_id
