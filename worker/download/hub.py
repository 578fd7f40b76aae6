"""One repository of a Hub: its files, and whether the caller may read them.

The requests, and what replaces one that a hub lacks (mirrors and artifact stores support only some):

    GET /api/models/R/auth-check        whether the caller may read the files; else the first byte of the first file
    GET /api/models/R/revision/REV      the commit and the names of its files; without it nothing can be fetched
    GET /api/models/R/tree/COMMIT       the files' sizes and checksums; else the request above with `blobs=true`
    GET /R/resolve/COMMIT/PATH          the files' bytes: see `http`
    GET /api/models/R/xet-read-token/…  a token for the content store; else files are fetched over plain HTTP
    GET /api/models?search=…            models by name; without it there is no search

The Hub lists a gated repository's files to everybody, so a listing does not prove access.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from huggingface_hub import HfApi, ModelInfo, get_session
from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils._http import hf_raise_for_status
from huggingface_hub.utils._paths import filter_repo_objects
from huggingface_hub.utils._xet import XetConnectionInfo, parse_xet_connection_info_from_headers

from app.domain.errors import Failed, Reason, TryAgain
from app.domain.repositories import without_card
from worker.download import listing
from worker.download.client import TIMEOUT
from worker.download.listing import MISSING, HubFile, is_missing_route, parsing

MAX_FILES = 100_000
"""Most files of one model."""
_COMMIT = re.compile("[A-Za-z0-9._-]{1,64}")
"""A commit is used in URLs and stored in a row."""
_File = TypeVar("_File")


class Listing(NamedTuple):
    """What a revision holds: the Hub's description of it, its files, and the selected ones, largest first."""

    info: ModelInfo
    files: Sequence[HubFile]
    chosen: Sequence[HubFile]

    @property
    def commit(self) -> str:
        return str(self.info.sha)


class Hub:
    """One repository of one Hub, requested with one caller's token. A page of a listing has up to `retries` retries."""

    def __init__(self, endpoint: str, name: str, token: str | None, *, retries: int = 5) -> None:
        self.endpoint = endpoint
        self.name = name
        self._retries = retries
        # False, not None: None would send a token stored on this machine.
        self.token: str | bool = token or False
        self._api = HfApi(endpoint=endpoint, token=self.token, library_name="modeldepot")
        self._headers = build_hf_headers(token=self.token, library_name="modeldepot")

    def check_access(self) -> bool:
        """Whether the token may read the repository's files, as far as this hub can tell without a file request.

        False if the hub can't tell: call `check_file` then. Raises errors that `explain` translates if it may not.
        """
        try:
            self._api.auth_check(self.name)
        except HfHubHTTPError as error:
            if not is_missing_route(error):
                raise
            return False
        return True

    def check_file(self, commit: str, file: HubFile) -> None:
        """Raise an error that `explain` translates unless the caller may read the file."""
        address = self._address(commit, file.path)
        headers = self._headers | {"range": "bytes=0-0"}
        # A redirect is enough: the Hub gives links to its CDN only to callers who may read.
        with get_session().stream("GET", address, headers=headers, follow_redirects=False) as response:
            if response.is_error and response.status_code != 416:
                response.read()
                hf_raise_for_status(response)

    def commit(self, revision: str) -> str:
        """Return the current commit of `revision`. Raise errors that `explain` translates."""
        try:
            return str(self._info(revision).sha)
        except RevisionNotFoundError:
            raise
        except HfHubHTTPError as error:
            if self.token or error.response.status_code not in {401, 403, 404}:
                raise
            message = (
                f"The Hub shows {self.name!r} to no caller without a token: it is private, or was renamed or deleted."
            )
            raise Failed(Reason.NOT_FOUND, message) from None

    def manifest(
        self, revision: str, include: Sequence[str], exclude: Sequence[str], *, pinned: str | None = None
    ) -> Listing:
        """Return what `revision` resolves to. Raise errors that `explain` translates.

        `pinned` is the commit of an earlier attempt: it is used until a squash or a force-push removes it from the Hub.
        """
        try:
            info = self._info(pinned or revision)
        except RevisionNotFoundError:
            if not pinned:
                raise
            info = self._info(revision)
        found: list[HubFile] = []

        def noted() -> Iterator[HubFile]:
            for file in self._files(info):
                found.append(file)
                yield file

        chosen: list[HubFile] = []
        for file in _selected(noted(), include, exclude, key=lambda file: file.path):
            file.check()
            chosen.append(file)
            if len(chosen) > MAX_FILES:
                message = f"More than {MAX_FILES} files of the repository are selected. Select fewer by include or exclude patterns."
                raise Failed(Reason.UNSUPPORTED, message)
        self._check_complete(info, {file.path for file in chosen}, include, exclude)
        if not chosen or _is_card_only(chosen, include):
            raise Failed(Reason.INCORRECT, _nothing_left(self.name, found, patterns=bool(include or exclude)))
        return Listing(info, found, sorted(chosen, key=lambda file: (-file.size, file.path)))

    def head(self, commit: str, path: str, size: int) -> bytes:
        """Return a file's first `size` bytes, or all of a smaller one; no more are read from a server without ranges."""
        headers = self._headers | {"range": f"bytes=0-{size - 1}", "accept-encoding": "identity"}
        data = bytearray()
        with get_session().stream("GET", self._address(commit, path), headers=headers) as response:
            if response.is_error:
                response.read()
                hf_raise_for_status(response)
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) >= size:
                    break
        return bytes(data[:size])

    def search(self, words: str, limit: int, properties: Sequence[str]) -> list[Any]:
        """Return the Hub's descriptions of at most `limit` models whose names have the words, most downloads first."""
        asked: dict[str, Any] = {"search": words, "limit": limit, "sort": "downloads", "expand[]": list(properties)}
        response = get_session().get(f"{self.endpoint}/api/models", headers=self._headers, params=asked)
        if response.status_code in MISSING:
            raise Failed(Reason.UNSUPPORTED, f"The Hub at {self.endpoint} can't be searched: name the model exactly.")
        hf_raise_for_status(response)
        with parsing(self.endpoint):
            return listing.array(response.json())[:limit]

    def store_access(self, commit: str) -> XetConnectionInfo:
        """Return the content store's address and a token. Raise huggingface_hub's errors and `ValueError`."""
        address = f"{self.endpoint}/api/models/{self.name}/xet-read-token/{commit}"
        response = get_session().get(address, headers=self._headers)
        hf_raise_for_status(response)
        access = parse_xet_connection_info_from_headers(response.headers)
        if access is None:
            raise ValueError("no content store is named")
        return access

    def _address(self, commit: str, path: str) -> str:
        return f"{self.endpoint}/{self.name}/resolve/{commit}/{quote(path)}"

    def _info(self, revision: str, *, files_metadata: bool = False) -> ModelInfo:
        with parsing(self.endpoint):
            info = self._api.model_info(self.name, revision=revision, timeout=TIMEOUT, files_metadata=files_metadata)
        if info.disabled:
            raise Failed(Reason.UNSUPPORTED, f"The Hub has disabled {self.name!r}: its files can't be fetched.")
        if not isinstance(info.sha, str) or not _COMMIT.fullmatch(info.sha):
            raise TryAgain(Reason.UNAVAILABLE, f"The Hub did not say which commit {revision!a} is.")
        return info

    def _files(self, info: ModelInfo) -> Iterator[HubFile]:
        commit = str(info.sha)
        try:
            yield from listing.tree(self.endpoint, self.name, commit, self._headers, self._retries)
        except HfHubHTTPError as error:
            if not is_missing_route(error):
                raise
            yield from listing.siblings(self.endpoint, self._info(commit, files_metadata=True))

    def _check_complete(
        self, info: ModelInfo, chosen: AbstractSet[str], include: Sequence[str], exclude: Sequence[str]
    ) -> None:
        """Raise `TryAgain` if the listing lacks a file that the description names: one of the two was truncated."""
        with parsing(self.endpoint):
            named = {sibling.rfilename for sibling in info.siblings or ()}
            missing = set(_selected(named, include, exclude, key=str)) - chosen
        if missing:
            message = (
                f"The Hub at {self.endpoint} lists {len(named)} files of {self.name!r} in one answer and leaves "
                f"{len(missing)} of them out of another, for example {min(missing)[:100]!a}."
            )
            raise TryAgain(Reason.UNAVAILABLE, message)


def _selected(
    files: Iterable[_File], include: Sequence[str], exclude: Sequence[str], *, key: Callable[[_File], str]
) -> Iterable[_File]:
    return filter_repo_objects(files, allow_patterns=list(include) or None, ignore_patterns=list(exclude), key=key)


def _is_card_only(chosen: Sequence[HubFile], include: Sequence[str]) -> bool:
    """Return whether a model was asked for by name with its card, and only the card is there."""
    weights = without_card(include)
    if not weights or len(weights) == len(include):
        return False
    return not any(True for _ in _selected([file.path for file in chosen], weights, (), key=str))


def _nothing_left(name: str, files: Sequence[HubFile], *, patterns: bool) -> str:
    if not patterns or not files:
        return f"{name!r} holds no files at this revision."
    some = ", ".join(ascii(file.path[:100])[1:-1] for file in files[:5])
    return f"The patterns leave no file of {name!r}. It holds {len(files)}, for example {some}."
