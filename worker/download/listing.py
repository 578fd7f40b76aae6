"""Lists the files of a commit from the Hub's API, page by page; checks each answer before using it."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from huggingface_hub import ModelInfo
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils._http import hf_raise_for_status, http_backoff

from app.domain.errors import Failed, Reason, TryAgain
from worker.download.client import TIMEOUT

_MOST_ENTRIES = 1_000_000
"""Most entries of a listing, however few of them are selected."""
_MOST_FOLDERS = 1000
"""Most folders that are listed one by one."""
MISSING = frozenset({400, 404, 405, 501})
"""Statuses with which hubs answer to routes that they lack."""
_SHA256, _SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file in the Hub's manifest. LFS files have `sha256`; the others have `blob_id` (git's SHA-1)."""

    path: str
    size: int
    blob_id: str
    sha256: str | None
    xet: str | None = None
    """Its hash in the Hub's content store, if it is there, too."""

    def check(self) -> None:
        """Raise `Failed` unless size and checksum are valid: partial files are named after the checksum."""
        sound = _SHA256.fullmatch(self.sha256) if self.sha256 is not None else _SHA1.fullmatch(self.blob_id)
        if not sound or self.size < 0:
            raise Failed(
                Reason.UNSUPPORTED,
                f"The Hub gives no valid size and checksum of {self.path[:100]!a}, so it can't be verified. "
                "Exclude it, or tell the repository's owner.",
            )


@contextmanager
def parsing(endpoint: str) -> Iterator[None]:
    """Wrap the parsing of an answer: raise `TryAgain` for an error that means that the answer is malformed."""
    try:
        yield
    except (HfHubHTTPError, HFValidationError, OSError):
        raise
    except (TypeError, AttributeError, LookupError, ValueError, RecursionError) as error:
        message = f"The Hub at {endpoint} answered something unexpected ({type(error).__name__})."
        raise TryAgain(Reason.UNAVAILABLE, message) from error


def is_missing_route(error: HfHubHTTPError) -> bool:
    """Whether the error may mean that this hub lacks the route, rather than that the requested item is missing.

    Mirrors and artifact stores answer 404 (Olah, with the Hub's own code of a missing repository), 400 (Nexus), 405 or
    501. So the status alone is not enough: another request for the same data must decide.
    """
    return error.response.status_code in MISSING


def tree(endpoint: str, name: str, commit: str, headers: Mapping[str, str], retries: int) -> Iterator[HubFile]:
    """Yield every file of a commit. Raise huggingface_hub's errors, `TryAgain`, and `Failed` for an endless listing.

    A page is asked for again up to `retries` times.
    """
    listing = _Tree(endpoint, name, commit, headers, retries)
    told = set[str]()
    try:
        for path, file in listing.entries("", recursive=True):
            if file:
                told.add(path)
                yield file
    except _Repeats:
        # A mirror without paging returns the first page again and again. Each folder may fit in one page.
        for file in listing.by_folder():
            if file.path not in told:
                yield file


class _Repeats(Failed):
    """The hub repeats the same entries."""


@dataclass(slots=True)
class _Tree:
    """The listings of one commit. `count` is the number of entries so far."""

    endpoint: str
    name: str
    commit: str
    headers: Mapping[str, str]
    retries: int
    count: int = 0

    def entries(self, folder: str, *, recursive: bool) -> Iterator[tuple[str, HubFile | None]]:
        """Yield a folder's entries, page by page: the path, and the file if it is one."""
        place = "/".join([quote(self.commit, safe=""), *([quote(folder)] if folder else [])])
        asks = f"recursive={str(recursive).lower()}&expand=false"
        address: str | None = f"{self.endpoint}/api/models/{self.name}/tree/{place}?{asks}"
        asked, first_paths = set[str](), set[str]()
        while address:
            asked.add(address)
            response = http_backoff(
                "GET", address, max_retries=self.retries, headers=dict(self.headers), timeout=TIMEOUT
            )
            hf_raise_for_status(response)
            with parsing(self.endpoint):
                entries = [_entry(line) for line in array(response.json())]
                address = response.links.get("next", {}).get("url")  # leads to the endpoint: see `client`
            if entries:
                self.count += len(entries)
                if address in asked or entries[0][0] in first_paths:
                    raise _Repeats(Reason.UNSUPPORTED, self._endless("the same page again and again"))
                if self.count > _MOST_ENTRIES:
                    raise Failed(Reason.UNSUPPORTED, self._endless(f"more than {_MOST_ENTRIES} entries"))
                first_paths.add(entries[0][0])
            yield from entries

    def by_folder(self) -> Iterator[HubFile]:
        """Yield every file, one folder after the other."""
        folders, known = [""], {""}
        while folders:
            for path, file in self.entries(folders.pop(), recursive=False):
                if file:
                    yield file
                elif path not in known:
                    known.add(path)
                    folders.append(path)
            if len(known) > _MOST_FOLDERS:
                raise Failed(Reason.UNSUPPORTED, self._endless(f"more than {_MOST_FOLDERS} folders"))

    def _endless(self, what: str) -> str:
        return (
            f"The Hub at {self.endpoint} lists {what} of {self.name!r}, so what the repository holds can't be told. A "
            "mirror that does not know pages of a listing can't serve folders of more than a page: set "
            "DEPOT_HUB_ENDPOINT to another one."
        )


def siblings(endpoint: str, info: ModelInfo) -> Iterator[HubFile]:
    """Yield every file of a commit's description with `files_metadata`, for hubs without the tree route."""
    with parsing(endpoint):
        for sibling in info.siblings or ():
            sha256 = None if sibling.lfs is None else _text(sibling.lfs.sha256)
            blob_id = _text(sibling.blob_id) if sha256 is None else sibling.blob_id or ""
            yield HubFile(_text(sibling.rfilename), _size(sibling.size), blob_id, sha256)


def _entry(line: Any) -> tuple[str, HubFile | None]:
    """Return the path of an entry of the tree, and the file if it is one."""
    path = _text(line["path"])
    if line["type"] != "file":
        return path, None
    lfs = line.get("lfs")
    sha256 = None if lfs is None else _text(lfs["oid"])
    xet = line.get("xetHash") if sha256 else None
    found = xet if isinstance(xet, str) and _SHA256.fullmatch(xet) else None
    return path, HubFile(path, _size(line["size"]), _text(line["oid"]), sha256, found)


def array(value: Any) -> list[Any]:
    """Return a JSON array. Raises `TypeError` for anything else."""
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value


def _size(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not a number of bytes")
    return value
