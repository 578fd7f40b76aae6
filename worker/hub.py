"""The Hub: what a repository holds, whether a token may read it, and what its errors mean.

Only this module and `download` import huggingface_hub. The Hub lists a gated repository's files to everybody, so that
a listing came says nothing of access: `check_access` asks.
"""

import errno
import re
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx2
from huggingface_hub import HfApi, set_client_factory
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils._http import hf_request_event_hook
from huggingface_hub.utils._paths import filter_repo_objects

from app.domain.errors import DepotError, Failed, OperationError, Reason, TryAgain

MAX_FILES = 100_000
RATE_LIMITED = "The Hub limits our rate. A huggingface-token raises the limit."
PROXY_REFUSES = "The proxy asks for a name and a password: put them into HTTPS_PROXY, as http://name:password@host."
_TIMEOUT = 15.0
"""Seconds without a byte after which a call to the Hub's API is given up."""
_SHA256, _SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file as the Hub's manifest has it. `sha256` is known of LFS files, `blob_id` (git's SHA-1) is of the others."""

    path: str
    size: int
    blob_id: str
    sha256: str | None
    xet: bool


class Hub:
    """One Hub, asked with one caller's token, about one repository."""

    def __init__(self, endpoint: str, name: str, token: str | None) -> None:
        self.endpoint = endpoint
        self.name = name
        # False, not None: None would send whatever token this machine happens to have.
        self.token: str | bool = token or False
        self._api = HfApi(endpoint=endpoint, token=self.token, library_name="modeldepot")

    def check_access(self) -> None:
        """Raises what `explain` understands unless the token may read the repository's files."""
        self._api.auth_check(self.name)

    def manifest(self, revision: str, include: Sequence[str], exclude: Sequence[str]) -> tuple[str, Sequence[HubFile]]:
        """The commit that `revision` resolves to and the files selected of it, largest first."""
        info = self._api.model_info(self.name, revision=revision, timeout=_TIMEOUT)
        if info.disabled:
            raise Failed(Reason.UNSUPPORTED, f"The Hub has disabled {self.name!r}: its files can't be fetched.")
        if not info.sha:
            raise TryAgain(Reason.UNAVAILABLE, f"The Hub did not say which commit {revision!r} is.")
        files = []
        for entry in self._api.list_repo_tree(self.name, recursive=True, revision=info.sha):
            if isinstance(entry, RepoFile):
                sha256 = entry.lfs.sha256 if entry.lfs else None
                files.append(HubFile(entry.path, entry.size, entry.blob_id, sha256, bool(entry.xet_hash and sha256)))
            if len(files) > MAX_FILES:
                raise Failed(
                    Reason.UNSUPPORTED,
                    f"The repository holds more than {MAX_FILES} files. Select some of them with 'include'.",
                )
        selected = filter_repo_objects(
            files, allow_patterns=list(include) or None, ignore_patterns=list(exclude), key=lambda file: file.path
        )
        chosen = list(selected)
        for file in chosen:
            _check(file)
        if not chosen:
            raise Failed(Reason.INCORRECT, _nothing_left(self.name, files, patterns=bool(include or exclude)))
        return info.sha, sorted(chosen, key=lambda file: (-file.size, file.path))


@dataclass(frozen=True, slots=True)
class Limits:
    """When a call to the Hub's API is given up: after `window` seconds without a byte, or with less than `rate` a second."""

    window: float
    rate: float


def make_client(limits: Limits, tls: ssl.SSLContext) -> None:
    """Make the client, and time out every request: several of huggingface_hub's helpers ask for none, so a stalled Hub would hang them.

    A client's default does not help, since those helpers pass `timeout=None` explicitly; a request hook does.
    """
    limits = Limits(min(limits.window, _TIMEOUT), limits.rate)

    def limit(request: httpx2.Request) -> None:
        asked = request.extensions.get("timeout") or {}
        most = {"connect": 10.0, "read": limits.window, "write": limits.window, "pool": 60.0}
        request.extensions["timeout"] = {
            kind: min(asked.get(kind) or longest, longest) for kind, longest in most.items()
        }

    def watch(response: httpx2.Response) -> None:
        if isinstance(response.stream, httpx2.SyncByteStream):
            response.stream = _Watched(response.stream, limits)

    set_client_factory(
        lambda: httpx2.Client(
            event_hooks={"request": [hf_request_event_hook, limit], "response": [watch]},
            follow_redirects=True,
            timeout=_TIMEOUT,
            verify=tls,
        )
    )


class _Watched(httpx2.SyncByteStream):
    """An answer's body, unless it comes too slowly: each byte in time is not enough."""

    def __init__(self, stream: httpx2.SyncByteStream, limits: Limits) -> None:
        self._stream, self._limits = stream, limits

    def __iter__(self) -> Iterator[bytes]:
        began, got = time.monotonic(), 0
        for data in self._stream:
            yield data
            got += len(data)
            passed = time.monotonic() - began
            if passed >= self._limits.window and got < self._limits.rate * passed:
                raise httpx2.ReadTimeout("the answer hardly comes")

    def close(self) -> None:
        self._stream.close()


def explain(error: Exception, hub: Hub, revision: str) -> OperationError:  # noqa: PLR0911  # a table, one line each
    """What an exception of huggingface_hub, of the network or of the disk means for the operation."""
    if isinstance(error, OperationError):
        return error
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        return explain(error.__cause__, hub, revision)
    if isinstance(error, HfHubHTTPError):
        return _answered(error, hub, revision)
    if isinstance(error, HFValidationError):
        return Failed(Reason.INCORRECT, f"The Hub's own rules refuse {hub.name!r} or {revision!r}.")
    if isinstance(error, httpx2.TransportError | httpx2.DecodingError | httpx2.TooManyRedirects):
        return TryAgain(Reason.UNAVAILABLE, f"The Hub at {hub.endpoint} can't be reached ({_kind(error)}).")
    if isinstance(error, OSError) and error.errno is not None:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return Failed(Reason.FAULT, "The storage is full. Free some space, then send the request again.")
        return Failed(Reason.FAULT, f"The storage failed: {error.strerror}. The operator should look at it.")
    # Every failure of Xet is a RuntimeError, and an answer that is not the Hub's JSON is a ValueError or KeyError.
    if isinstance(error, RuntimeError | ValueError | KeyError | OSError | httpx2.HTTPError):
        return TryAgain(
            Reason.UNAVAILABLE, f"The Hub at {hub.endpoint} answered something unexpected ({_kind(error)})."
        )
    raise DepotError(_kind(error)) from error


def _answered(error: HfHubHTTPError, hub: Hub, revision: str) -> OperationError:  # noqa: PLR0911  # likewise
    name, status = hub.name, error.response.status_code
    if isinstance(error, GatedRepoError):
        how = (
            "The account of this huggingface-token may not read it"
            if hub.token
            else "Send a huggingface-token of an account that may read it"
        )
        message = f"{name!r} is gated. {how}: accept its licence at {hub.endpoint}/{name} and send the request again."
        return Failed(Reason.FORBIDDEN, message)
    if isinstance(error, DisabledRepoError):
        return Failed(Reason.UNSUPPORTED, f"The Hub has disabled {name!r}: its files can't be fetched.")
    if isinstance(error, RevisionNotFoundError):
        message = (
            f"{name!r} has no revision {revision!r}. Its branches and tags are at {hub.endpoint}/{name}/tree/main."
        )
        return Failed(Reason.NOT_FOUND, message)
    if isinstance(error, EntryNotFoundError):
        return Failed(Reason.NOT_FOUND, f"A file of {name!r} that the Hub lists is not there.")
    if isinstance(error, RepositoryNotFoundError) or status in {401, 403, 404}:
        return _not_shown(error, hub, status)
    if status == 429:
        return TryAgain(Reason.BUSY, RATE_LIMITED, after=retry_after(error.response.headers))
    if status == 407:
        return TryAgain(Reason.UNAVAILABLE, PROXY_REFUSES)
    if status == 408 or status >= 500:
        message = f"The Hub at {hub.endpoint} answered {status}."
        return TryAgain(Reason.UNAVAILABLE, message, after=retry_after(error.response.headers))
    return Failed(Reason.UNKNOWN, f"The Hub at {hub.endpoint} answered {status} to a request for {name!r}.")


def _not_shown(error: HfHubHTTPError, hub: Hub, status: int) -> OperationError:
    """The Hub does not tell who may not see a private repository that there is one, so both are possible."""
    if hub.token and status == 401:
        return Failed(Reason.FORBIDDEN, "The Hub does not accept this huggingface-token: it is wrong or has expired.")
    if status == 403 and not isinstance(error, RepositoryNotFoundError):
        return Failed(Reason.FORBIDDEN, f"The Hub refuses this caller the files of {hub.name!r}.")
    if status == 404:
        message = f"The Hub shows no model repository {hub.name!r}: check its name"
        more = ", and that the huggingface-token's account may see it if it is private." if hub.token else "."
        return Failed(Reason.NOT_FOUND, message + more)
    message = (
        f"The Hub shows no model repository {hub.name!r} to a caller without a token: check its name, or send a "
        "huggingface-token if it is private."
    )
    return Failed(Reason.FORBIDDEN, message)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """How many seconds the Hub asks to wait, by `Retry-After` (seconds, or a date) or the `t` of its `RateLimit`."""
    asked = headers.get("retry-after", "")
    if asked.isdigit():
        return float(asked)
    with suppress(ValueError):
        return max(0.0, (parsedate_to_datetime(asked) - datetime.now(UTC)).total_seconds())
    window = re.search(r"\bt=(\d+)", headers.get("ratelimit", ""))
    return float(window[1]) if window else None


def _check(file: HubFile) -> None:
    """Refuse what is not a size and a checksum: files in flight are called after the latter."""
    sound = _SHA256.fullmatch(file.sha256) if file.sha256 is not None else _SHA1.fullmatch(file.blob_id)
    if not sound or file.size < 0:
        raise Failed(
            Reason.UNSUPPORTED,
            f"The Hub gives no valid size and checksum of {file.path[:100]!a}, so it can't be verified. "
            "Leave it out with 'exclude', or tell the repository's owner.",
        )


def _nothing_left(name: str, files: Sequence[HubFile], *, patterns: bool) -> str:
    if not patterns or not files:
        return f"{name!r} holds no files at this revision."
    some = ", ".join(file.path for file in files[:5])
    return f"'include' and 'exclude' leave no file of {name!r}. It holds {len(files)}, for example {some}."


def _kind(error: Exception) -> str:
    """The error's type and the operating system's word for it; never its text, which may hold a signed URL."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return f"{type(error).__name__}: {cause.strerror}"
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
