"""Repositories as git and the Hub see them, the accounts that read them, and the links that lead to large files."""

import hashlib
import secrets
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from tests.fakehub.content import Content, content_of
from tests.fakehub.xet import XetStore

Kind = Literal["models", "datasets", "spaces"]
Files = Mapping[str, bytes | Path | Content]

_LARGE = 10 << 20
"""Bytes above which the Hub insists on LFS."""
_LFS_SUFFIXES = (
    *(".safetensors", ".gguf", ".bin", ".pt", ".pth", ".onnx", ".h5", ".msgpack", ".ckpt", ".pkl", ".npz"),
    *(".tflite", ".parquet", ".zip", ".tar", ".gz"),
)


@dataclass(frozen=True)
class Entry:
    path: str
    content: Content
    lfs: bool
    xet_hash: str | None = None

    @property
    def etag(self) -> str:
        return self.content.sha256 if self.lfs else self.content.oid

    @cached_property
    def pointer(self) -> bytes:
        """What git holds in place of a large file."""
        text = (
            f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.content.sha256}\nsize {self.content.size}\n"
        )
        return text.encode()

    @cached_property
    def oid(self) -> str:
        return content_of(self.pointer).oid if self.lfs else self.content.oid


@dataclass(frozen=True)
class Folder:
    path: str

    @property
    def oid(self) -> str:
        return _sha1("folder", self.path)


@dataclass(frozen=True)
class Commit:
    id: str
    title: str
    date: str
    entries: Mapping[str, Entry]

    @cached_property
    def tree(self) -> list[Entry | Folder]:
        """Files and the folders they are in, by path. Nothing is normalised: a path is what was announced."""
        folders = {path[:end] for path in self.entries for end, sign in enumerate(path) if sign == "/" and end}
        listed: list[Entry | Folder] = [*self.entries.values(), *(Folder(path) for path in folders - set(self.entries))]
        return sorted(listed, key=lambda one: one.path)


@dataclass
class Repo:
    """A repository. Its commits stay for ever, as on the Hub; branches and tags name some of them."""

    name: str
    kind: Kind = "models"
    private: bool = False
    gated: bool = False
    disabled: bool = False
    lfs: Collection[str] | None = None
    """Globs of the files kept in LFS; None: by size and suffix, as most repositories have it."""
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    xet: XetStore | None = None
    """Where Xet holds the files that are in LFS."""
    about: dict[str, Any] = field(default_factory=dict)
    """What the Hub has read from its card and its files, and counted: `cardData`, `safetensors`, `gguf`, `likes`…"""

    def commit(self, files: Files, *, branch: str = "main", remove: Collection[str] = ()) -> str:
        """A commit of these files on top of the branch; a new branch (or `refs/pr/N`) starts at main. Its id."""
        parent = self.branches.get(branch) or self.branches.get("main")
        entries = dict(self.commits[parent].entries) if parent else {}
        entries.update({path: self._entry(path, content_of(given)) for path, given in files.items()})
        entries = {path: entry for path, entry in entries.items() if path not in set(remove)}
        marks = (f"{path}\0{entry.content.mark}" for path, entry in entries.items())
        identity = _sha1(self.kind, self.name, parent or "", str(len(self.commits)), *marks)
        date = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=len(self.commits))
        title = "Upload" if parent else "initial commit"
        self.commits[identity] = Commit(identity, title, f"{date:%Y-%m-%dT%H:%M:%S}.000Z", entries)
        self.branches[branch] = identity
        return identity

    def tag(self, name: str, commit: str) -> None:
        self.tags[name] = self.commits[commit].id

    def find(self, revision: str) -> Commit | None:
        commit = self.branches.get(revision) or self.tags.get(revision) or revision
        return self.commits.get(commit)

    @property
    def used_storage(self) -> int:
        """Bytes of the large files of all commits, which is why nobody should take it for a download's size."""
        everything = (entry for commit in self.commits.values() for entry in commit.entries.values() if entry.lfs)
        return sum({entry.content.mark: entry.content.size for entry in everything}.values())

    def _entry(self, path: str, content: Content) -> Entry:
        if self.lfs is None:
            lfs = content.size > _LARGE or path.lower().endswith(_LFS_SUFFIXES)
        else:
            lfs = any(fnmatchcase(path, glob) for glob in self.lfs)
        if lfs:
            _ = content.sha256  # now, for it takes seconds where clients wait for no more than ten
        return Entry(path, content, lfs, self.xet.keep(content) if self.xet and lfs else None)


@dataclass(frozen=True)
class Account:
    """Whoever holds a token: the private repositories it may read, and the licences it has accepted."""

    name: str
    may_read: frozenset[str]
    accepted: frozenset[str]


@dataclass
class Link:
    """A signed address of a large file, or of a xorb that belongs to no repository, for whoever has it."""

    repo: str | None
    entry: Entry
    seconds: float
    signature: str = field(default_factory=lambda: secrets.token_hex(32))
    issued: float = field(default_factory=time.time)
    bytes_sent: int = 0

    @property
    def age(self) -> float:
        return time.time() - self.issued

    @property
    def expired(self) -> bool:
        return self.age > self.seconds


class Catalogue:
    """Everything that a Hub knows. What is added appears to the next request."""

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.accounts: dict[str, Account] = {}
        self.moved: dict[str, str] = {}
        """New names of repositories by the old ones."""
        self.links: dict[str, Link] = {}
        self.xet = XetStore()
        self.page_size = 1000
        """Entries of a tree that one answer lists."""
        self.link_seconds = 3600.0
        """How long the signed links that are given out from now on are good for."""

    def add(
        self,
        name: str,
        files: Files,
        *,
        private: bool = False,
        gated: bool = False,
        disabled: bool = False,
        lfs: Collection[str] | None = None,
        kind: Kind = "models",
        xet: bool = False,
        about: Mapping[str, Any] = {},
    ) -> Repo:
        """A repository with these files on its branch main, in place of one with the same name."""
        repo = Repo(name, kind, private, gated, disabled, lfs, xet=self.xet if xet else None, about=dict(about))
        repo.commit(files)
        self.repos[kind, name] = repo
        return repo

    def move(self, old: str, new: str) -> Repo:
        """The model under its new name; requests for the old one are led there."""
        repo = self.repos.pop(("models", old))
        repo.name = new
        self.repos["models", new] = repo
        self.moved[old] = new
        return repo

    def account(self, token: str, *, may_read: Collection[str] = (), accepted: Collection[str] = ()) -> Account:
        """Whose token this is; told again, what it may read and has accepted from now on."""
        known = self.accounts.get(token)
        name = known.name if known else f"user-{len(self.accounts) + 1}"
        self.accounts[token] = Account(name, frozenset(may_read), frozenset(accepted))
        return self.accounts[token]

    def add_folder(self, folder: Path) -> None:
        """Every FOLDER/owner/name becomes a repository of the files below it."""
        for home in sorted(path for path in folder.glob("*/*") if path.is_dir()):
            paths = {path.relative_to(home).as_posix(): path for path in sorted(home.rglob("*")) if path.is_file()}
            files = {name: path for name, path in paths.items() if not name.startswith((".git/", ".cache/"))}
            self.add(home.relative_to(folder).as_posix(), files)

    def link(self, repo: Repo | None, entry: Entry) -> Link:
        link = Link(repo.name if repo else None, entry, self.link_seconds)
        self.links[link.signature] = link
        return link


def _sha1(*parts: str) -> str:
    return hashlib.sha1("\n".join(parts).encode(errors="surrogatepass"), usedforsecurity=False).hexdigest()
