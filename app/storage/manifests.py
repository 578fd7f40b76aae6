"""The storage's own record of its models, from which a lost database can be rebuilt.

    depot/<model id>.json                           a published model: what it is, and its files
    depot/<model id>.<operation id>.<fence>.json    the same for an attempt that is about to publish

They are beside the models' folders, not inside: engines load the Hub's files and nothing else.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

_VERSION = 1


class File(NamedTuple):
    """`path` is relative to the model's folder, `size` in bytes, `sha256` and git's `blob_id` in hexadecimal."""

    path: str
    size: int
    sha256: str
    blob_id: str | None = None
    """None for a file in LFS, and where an older version wrote the manifest."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The requested selection, the commit that it resolved to, and every file."""

    model_id: UUID
    name: str
    revision: str
    include: Sequence[str]
    exclude: Sequence[str]
    commit: str
    files: Sequence[File]
    follows: str | None = None
    """The branch that it was an update of when it was written. Left out if there is none: older versions refuse it."""

    @classmethod
    def of(cls, model: Any, commit: str, files: Iterable[Iterable[Any]]) -> "Manifest":
        """Return the manifest of a model's row, with its files in the order of `File`'s fields."""
        kept = [File(*file) for file in files]
        return cls(model.id, model.name, model.revision, model.include, model.exclude, commit, kept, model.follows)

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    def to_json(self) -> str:
        values = asdict(self) | {"model_id": str(self.model_id), "files": [file._asdict() for file in self.files]}
        if self.follows is None:
            del values["follows"]
        return json.dumps({"version": _VERSION} | values, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Parse a manifest. Raises `ValueError`."""
        try:
            values: dict[str, Any] = json.loads(text)
            if values.pop("version") != _VERSION:
                raise ValueError("a newer version wrote it")
            files = [
                File(str(file["path"]), int(file["size"]), str(file["sha256"]), file.get("blob_id"))
                for file in values.pop("files")
            ]
            return cls(model_id=UUID(values.pop("model_id")), files=files, **values)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError("it is no manifest") from error


class Manifests:
    """The manifests in the folder `depot` of a storage. All methods raise `OSError`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def draft(self, attempt: str, manifest: Manifest) -> None:
        """Write the manifest of `attempt`, which has not published yet."""
        self._write(self._draft(manifest.model_id, attempt), manifest)

    def confirm(self, model_id: UUID, attempt: str) -> None:
        """Turn the draft of an attempt into the model's manifest, once it has published."""
        self._draft(model_id, attempt).replace(self._final(model_id))

    def write(self, manifest: Manifest) -> None:
        self._write(self._final(manifest.model_id), manifest)

    def of(self, model_id: UUID) -> Iterator[Manifest]:
        """Yield a model's manifests: the published one, then drafts of attempts that may have crashed publishing."""
        for path in (self._final(model_id), *sorted(self._folder.glob(f"{model_id}.*.json"))):
            with suppress(FileNotFoundError, ValueError):
                yield Manifest.from_json(path.read_text())

    def forget(self, model_id: UUID) -> None:
        for path in (self._final(model_id), *self._folder.glob(f"{model_id}.*.json")):
            path.unlink(missing_ok=True)

    def forget_draft(self, model_id: UUID, attempt: str) -> None:
        self._draft(model_id, attempt).unlink(missing_ok=True)

    def ids(self) -> set[UUID]:
        """Return the ids of the models with a published manifest."""
        found = set()
        for path in self._folder.glob("*.json"):
            with suppress(ValueError):
                found.add(UUID(path.stem))
        return found

    def _final(self, model_id: UUID) -> Path:
        return self._folder / f"{model_id}.json"

    def _draft(self, model_id: UUID, attempt: str) -> Path:
        return self._folder / f"{model_id}.{attempt}.json"

    def _write(self, path: Path, manifest: Manifest) -> None:
        """Write the file atomically, after an fsync."""
        self._folder.mkdir(exist_ok=True)
        fresh = self._folder / f".{uuid4().hex}"
        with fresh.open("x") as file:
            file.write(manifest.to_json())
            file.flush()
            os.fsync(file.fileno())
        fresh.chmod(0o644)
        fresh.replace(path)
