"""Names of models and files on the storage: none is too long for a file system, none leads out of its folder."""

import hashlib
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Protocol
from urllib.parse import quote
from uuid import UUID

from app.domain.errors import Failed, Reason

_MAX_PATH_BYTES = 1000
_MAX_PART_BYTES = 255
_DIGITS = 16
"""Hexadecimal digits of a SHA-256 that replace the end of a name that is too long."""


class Named(Protocol):
    """What a model's label is made of."""

    @property
    def name(self) -> str: ...
    @property
    def revision(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def include(self) -> Sequence[str]: ...
    @property
    def exclude(self) -> Sequence[str]: ...


def label(name: str, revision: str, fingerprint: str, *, patterns: bool) -> PurePosixPath:
    """Return a model's label: `owner/name`, `@revision` unless it is main, `~` and 8 digits if it has patterns.

    A name that is too long for file systems is cut, and ends in `~` and 16 digits of its SHA-256.
    """
    owner, _, repository = name.partition("/")
    if revision != "main":
        repository += f"@{quote(revision, safe='')}"
    if patterns:
        repository += f"~{fingerprint[:8]}"
    return PurePosixPath(owner, _bounded(repository))


def label_of(model: Named) -> PurePosixPath:
    """Return the label of a model, or of a selection."""
    patterns = bool(model.include or model.exclude)
    return label(model.name, model.revision, model.fingerprint, patterns=patterns)


def check_paths(paths: Sequence[str]) -> None:
    """Raise `Failed` if a repository's files can't all be stored under one folder."""
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
                "Exclude it, or tell the repository's owner.",
            )
        if any("/".join(parts[:depth]) in seen for depth in range(1, len(parts))):
            raise Failed(
                Reason.UNSUPPORTED, f"The repository holds a file and a folder of the same name: {path[:100]!a}."
            )
    if len(seen) < len(paths):
        raise Failed(Reason.UNSUPPORTED, "The repository lists a file twice under the same name.")


def as_id(name: str) -> UUID | None:
    """Return the model id that a name is, in its canonical form; None if it is not one."""
    try:
        model_id = UUID(name)
    except ValueError:
        return None
    return model_id if str(model_id) == name else None


def _bounded(part: str) -> str:
    # Quoted text is ASCII: one byte per character.
    if len(part) <= _MAX_PART_BYTES:
        return part
    digest = hashlib.sha256(part.encode()).hexdigest()[:_DIGITS]
    return f"{part[: _MAX_PART_BYTES - _DIGITS - 1]}~{digest}"
