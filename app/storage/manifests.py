"""What the storage itself knows of its models, so that a lost database can be made anew from it.

    depot/<model id>.json                           a published model: what it is, and its files
    depot/<model id>.<operation id>.<fence>.json    the same of an attempt that is about to publish

Beside the models' folders and not inside: what engines load is the Hub's files and nothing else.
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
    """`path` is relative to the model's folder, `size` in bytes, `sha256` in hexadecimal."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was asked for, which commit it resolved to, and every file."""

    model_id: UUID
    name: str
    revision: str
    include: Sequence[str]
    exclude: Sequence[str]
    commit: str
    files: Sequence[File]

    @classmethod
    def of(cls, model: Any, commit: str, files: Iterable[Sequence[Any]]) -> "Manifest":
        """That of a model's row, with its files as (path, size, sha256)."""
        kept = [File(*file) for file in files]
        return cls(model.id, model.name, model.revision, model.include, model.exclude, commit, kept)

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    def to_json(self) -> str:
        values = asdict(self) | {"model_id": str(self.model_id), "files": [file._asdict() for file in self.files]}
        return json.dumps({"version": _VERSION} | values, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Raises `ValueError`."""
        try:
            values: dict[str, Any] = json.loads(text)
            if values.pop("version") != _VERSION:
                raise ValueError("a newer version wrote it")
            files = [File(str(file["path"]), int(file["size"]), str(file["sha256"])) for file in values.pop("files")]
            return cls(model_id=UUID(values.pop("model_id")), files=files, **values)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError("it is no manifest") from error


class Manifests:
    """The manifests in the folder `depot` of a storage. All raise `OSError`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def draft(self, attempt: str, manifest: Manifest) -> None:
        """Keep it as that of `attempt`, which has not published yet."""
        self._write(self._draft(manifest.model_id, attempt), manifest)

    def confirm(self, model_id: UUID, attempt: str) -> None:
        """Make the draft of an attempt that has published the model's manifest."""
        self._draft(model_id, attempt).replace(self._final(model_id))

    def write(self, manifest: Manifest) -> None:
        self._write(self._final(manifest.model_id), manifest)

    def of(self, model_id: UUID) -> Iterator[Manifest]:
        """All there are of a model: the published one first, then those of attempts that may have died publishing."""
        for path in (self._final(model_id), *sorted(self._folder.glob(f"{model_id}.*.json"))):
            with suppress(FileNotFoundError, ValueError):
                yield Manifest.from_json(path.read_text())

    def forget(self, model_id: UUID) -> None:
        for path in (self._final(model_id), *self._folder.glob(f"{model_id}.*.json")):
            path.unlink(missing_ok=True)

    def forget_draft(self, model_id: UUID, attempt: str) -> None:
        self._draft(model_id, attempt).unlink(missing_ok=True)

    def ids(self) -> set[UUID]:
        """The models that have one."""
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
        """All of it or nothing, for good."""
        self._folder.mkdir(exist_ok=True)
        fresh = self._folder / f".{uuid4().hex}"
        with fresh.open("x") as file:
            file.write(manifest.to_json())
            file.flush()
            os.fsync(file.fileno())
        fresh.chmod(0o644)
        fresh.replace(path)
