"""Looks at a model's folders: what they hold, what that takes, whether it is what was recorded."""

import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from uuid import UUID

from app.storage.base import ModelUsage
from app.storage.folders import UNIT
from app.storage.layout import Layout

_Inodes = Mapping[tuple[int, int], int]
"""(device, inode) to bytes."""


def check_files(folder: Path, recorded: Mapping[str, tuple[int, str]]) -> list[str]:
    """Compare the files in `folder` with their recorded sizes and SHA-256. Return a line per problem."""
    problems = []
    for path, (size, sha256) in sorted(recorded.items()):
        try:
            with (folder / path).open("rb") as file:
                found = os.fstat(file.fileno()).st_size
                if found != size:
                    problems.append(f"{path} has {found} bytes instead of {size}")
                elif hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    problems.append(f"{path} differs from its checksum")
        except FileNotFoundError:
            problems.append(f"{path} is missing")
        except OSError as error:
            problems.append(f"{path} can't be read: {error.strerror}")
    there = {path.as_posix() for path in files_below(folder)}
    return problems + [f"{path} is not one of its files" for path in sorted(there - set(recorded))]


def files_below(folder: Path) -> list[Path]:
    """Return the files in a folder and its subfolders, relative to it."""
    return [Path(place, name).relative_to(folder) for place, _, names in os.walk(folder) for name in names]


def measure(layout: Layout) -> tuple[Mapping[UUID, ModelUsage], int]:
    """Return the usage of every model that has files, and their total in bytes. Raises `OSError`."""
    published, arriving = {}, {}
    for model_id in layout.published_ids() | layout.arriving_ids():
        published[model_id] = _inodes([layout.published(model_id)])
        arriving[model_id] = _inodes(layout.arriving(model_id))
    holders = Counter(inode for inodes in published.values() for inode in inodes)
    usages = {}
    for model_id, inodes in published.items():
        shared = sum(size for inode, size in inodes.items() if holders[inode] > 1)
        # Files linked from a published model need no more space.
        fresh = sum(size for inode, size in arriving[model_id].items() if inode not in holders)
        usages[model_id] = ModelUsage(sum(inodes.values()) - shared, shared, fresh)
    everything = {
        inode: size for found in (published, arriving) for each in found.values() for inode, size in each.items()
    }
    return usages, sum(everything.values())


def last_change(folders: Sequence[Path]) -> float:
    """Return when something in the folders last changed, in seconds since 1970."""
    return max(_changes(folders), default=0.0)


def _changes(folders: Sequence[Path]) -> Iterator[float]:
    for folder in folders:
        for place, _, names in os.walk(folder):
            for path in (Path(place), *(Path(place, name) for name in names)):
                try:
                    yield path.lstat().st_mtime
                except FileNotFoundError:  # it was moved: a worker uses it
                    yield time.time()


def _inodes(folders: Sequence[Path]) -> _Inodes:
    found = {}
    for place, names in ((place, names) for folder in folders for place, _, names in os.walk(folder)):
        for name in names:
            try:
                status = Path(place, name).lstat()
            except FileNotFoundError:  # it was moved during the download
                continue
            # A partial file has its full length from the start: count its allocated blocks.
            found[status.st_dev, status.st_ino] = min(status.st_size, status.st_blocks * UNIT)
    return found
