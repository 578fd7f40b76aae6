"""Repairs a published model in place: it stays ready, and only corrupt or missing files are replaced."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from app.storage.folders import erase, make_folder, sync_folder
from app.storage.manifests import Manifest
from app.storage.posix import Attempt, Storage
from worker.download.checksums import verify
from worker.download.listing import HubFile


def sound(files: Sequence[HubFile], published: Path) -> Iterator[tuple[HubFile, str]]:
    """Yield each of `files` that is intact in the folder, with its SHA-256. Reads them all."""
    for file in files:
        try:
            sha256 = verify(file, published / file.path)
        except OSError:  # missing or unreadable
            continue
        if sha256 is not None:
            yield file, sha256


def mend(storage: Storage, attempt: Attempt, manifest: Manifest) -> None:
    """Replace files of the published model by the attempt's verified files, each with one rename; the others stay.

    Files that are not in the manifest are removed. Idempotent. Raises `TryAgain` if the attempt was replaced.
    """
    target = storage.published(attempt.model_id)
    if not target.exists():
        storage.publish(attempt, manifest)
        return
    # On a mount that caches names, the folder's old name may lead to one that another attempt took over.
    tree = storage.claim(attempt)
    storage.manifests.write(manifest)
    for path in _files(tree):
        place = target / path
        make_folder(place.parent)
        (tree / path).rename(place)
        sync_folder(place.parent)
    wanted = {file.path for file in manifest.files}
    for path in _files(target):
        if path.as_posix() not in wanted:
            (target / path).unlink()
    erase(tree)
    storage.finish(attempt)


def _files(folder: Path) -> list[Path]:
    return [Path(place, name).relative_to(folder) for place, _, names in os.walk(folder) for name in names]
