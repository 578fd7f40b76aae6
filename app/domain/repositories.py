"""Repository names and revisions that the Hub accepts, and which files a request selects."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from app.domain.errors import BadRequest

CARD = ("LICENSE*", "README.md")
"""Patterns of what tells of a model beside its weights."""
MAX_PATTERNS = 100
MAX_PATTERN_LENGTH = 500
MAX_REVISION_LENGTH = 250

# As in huggingface_hub 2.4 (utils/_validators.py), with the owner required.
_NAME = re.compile(r"\b[\w\-.]{1,96}\b/\b[\w\-.]{1,96}\b", re.ASCII)
_PART = "[A-Za-z0-9_]([A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
NAME_PATTERN = rf"^(?!.*(--|\.\.|\.git$)){_PART}/{_PART}$"
"""The names that `check_name` accepts, for the OpenAPI document."""
# What `git check-ref-format` refuses: a typing error is reported now, not by an operation an hour later.
_NOT_IN_REVISION = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|//|@\{|\.lock(/|$)|/\.|^[./-]|[./]$|^@$")


@dataclass(frozen=True, slots=True)
class Selection:
    """Selected files of a repository. Creates with equal selections are the same. Build it with `select`."""

    name: str
    revision: str
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    follows: str | None = field(default=None, compare=False)
    """The branch or tag of which `revision`, a commit, is an update. It selects nothing."""

    @property
    def fingerprint(self) -> str:
        """64 hexadecimal digits, equal for equal selections."""
        parts = [self.name, self.revision, self.include, self.exclude]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def without_card(self) -> "Selection":
        """The same without the patterns of `CARD`, if it has all of them and others."""
        others = without_card(self.include)
        return replace(self, include=others) if others and len(self.include) - len(others) == len(CARD) else self


def select(
    name: str, revision: str, include: Sequence[str], exclude: Sequence[str], *, follows: str | None = None
) -> Selection:
    """Return a selection in canonical form (patterns sorted, each once). Raises `BadRequest` naming the field."""
    check_name(name)
    check_revision(revision)
    return Selection(name, revision, _patterns("include", include), _patterns("exclude", exclude), follows)


def is_card(path: str) -> bool:
    """Return whether a file tells of a model beside its weights."""
    return any(fnmatchcase(path, pattern) for pattern in CARD)


def without_card(patterns: Sequence[str]) -> tuple[str, ...]:
    """Return the patterns that are not of `CARD`."""
    return tuple(pattern for pattern in patterns if pattern not in CARD)


def check_name(name: str) -> None:
    """Raise `BadRequest` for a name that the Hub would refuse."""
    example = "for example 'mistralai/Mistral-7B-v0.3'"
    if "/" not in name:
        raise BadRequest(f"'name' must be the Hub's full 'owner/name', {example}.", field="name")
    if not _NAME.fullmatch(name):
        raise BadRequest(
            f"'name' must be 'owner/name', {example}: each part 1 to 96 letters, digits, '-', '_' or '.', "
            "neither beginning nor ending with '-' or '.'.",
            field="name",
        )
    if "--" in name or ".." in name or name.endswith(".git"):
        raise BadRequest(
            "'name' may not contain '--' or '..' nor end in '.git': the Hub has no such names.", field="name"
        )


def check_revision(revision: str) -> None:
    """Raise `BadRequest` for what can't be a branch, a tag or a commit."""
    if not 1 <= len(revision) <= MAX_REVISION_LENGTH or _NOT_IN_REVISION.search(revision) or not revision.isprintable():
        raise BadRequest(
            f"'revision' must be a branch, a tag or a commit of at most {MAX_REVISION_LENGTH} characters, "
            "for example 'main' or 'refs/pr/1'. Leave it out for 'main'.",
            field="revision",
        )


def _patterns(field: str, patterns: Sequence[str]) -> tuple[str, ...]:
    if len(patterns) > MAX_PATTERNS:
        raise BadRequest(f"'{field}' takes at most {MAX_PATTERNS} patterns.", field=field)
    for pattern in patterns:
        if not 1 <= len(pattern) <= MAX_PATTERN_LENGTH or not pattern.isprintable():
            raise BadRequest(
                f"'{field}' takes glob patterns of 1 to {MAX_PATTERN_LENGTH} printable characters, "
                "for example '*.safetensors'.",
                field=field,
            )
        if not pattern.strip("*"):
            does = "selects every file: leave 'include' out" if field == "include" else "leaves no file to fetch"
            raise BadRequest(f"'{field}' may not hold '{pattern}': it {does}.", field=field)
    return tuple(sorted(set(patterns)))
