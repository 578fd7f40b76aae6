"""Translates exceptions of huggingface_hub, the network and the disk to the contract's errors."""

import errno
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol

import httpx2
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

from app.domain.errors import DepotError, Failed, NotYet, OperationError, Reason, TryAgain
from app.storage.base import StoreAway

PROXY_REFUSES = "The proxy asks for a name and a password: put them into HTTPS_PROXY, as http://name:password@host."
_STORE_AWAY = 15.0
"""Seconds until a storage that does not answer is tried again."""
_LONGEST_WORDS = 300
"""Most characters of the Hub's own message that are passed on."""


class Asked(Protocol):
    """The repository, its Hub and the token of a request."""

    endpoint: str
    name: str
    token: str | bool


def explain(error: Exception, hub: Asked, revision: str) -> OperationError:  # noqa: PLR0911  # a table, one line each
    """Return the operation's error for `error`. Raises `DepotError` for an exception that only a bug causes."""
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
    if isinstance(error, StoreAway):
        message = f"The storage can't be used: {error.strerror}. It is tried again until it can."
        return NotYet(Reason.FAULT, message, after=_STORE_AWAY)
    if isinstance(error, OSError) and error.errno is not None:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            message = f"The storage is full: {error.strerror}. Free some space, then retry."
            return Failed(Reason.FAULT, message)
        return Failed(Reason.FAULT, f"The storage failed: {error.strerror}. The operator should look at it.")
    # Every failure of Xet is a RuntimeError, and an answer that is not the Hub's JSON is a ValueError or KeyError.
    if isinstance(error, RuntimeError | ValueError | KeyError | OSError | httpx2.HTTPError):
        return TryAgain(
            Reason.UNAVAILABLE, f"The Hub at {hub.endpoint} answered something unexpected ({_kind(error)})."
        )
    raise DepotError(_kind(error)) from error


def is_unforeseen(error: Exception) -> bool:
    """Whether the error is none of the network, the disk or a refusal: the Hub or this program behaves unexpectedly."""
    if isinstance(error, OperationError):
        return error.reason is Reason.UNKNOWN
    return not isinstance(error, HfHubHTTPError | httpx2.HTTPError) and not (isinstance(error, OSError) and error.errno)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait from the Hub's `Retry-After` (seconds or a date) or the `t` of its `RateLimit`."""
    asked = headers.get("retry-after", "")
    if asked.isascii() and asked.isdigit():
        return float(asked)
    try:
        until = parsedate_to_datetime(asked)
    except (ValueError, OverflowError):
        window = re.search(r"\bt=([0-9]+)", headers.get("ratelimit", ""))
        return float(window[1]) if window else None
    # The zone "-0000" means UTC but is parsed to a datetime without a zone.
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def rate_limited(after: float | None, *, token_helps: bool) -> str:
    """Return the message for a 429 that asks to wait `after` seconds."""
    wait = ": wait some minutes." if after is None else f", and asks to wait {math.ceil(after)} seconds."
    return f"The Hub limits our rate{wait}" + (" A Hub token raises the limit." if token_helps else "")


def own_words(headers: Mapping[str, str]) -> str:
    """Return the Hub's own message, trimmed and escaped, to append to ours; empty if there is none.

    The query of a URL in it, which may be a signature, is removed.
    """
    told = " ".join(headers.get("x-error-message", "").split())
    told = re.sub(r"(https?://[^\s?#]+)[?#]\S*", r"\1", told)
    if not told:
        return ""
    told = told if len(told) <= _LONGEST_WORDS else f"{told[:_LONGEST_WORDS]}…"
    return " The Hub says: " + "".join(one if one.isprintable() else ascii(one)[1:-1] for one in told)


def refused(what: str) -> str:
    """Return the message for a 403 to a request for `what`."""
    return f"The Hub refuses access to {what}: retry with a Hub token of an account that has it."


def _answered(error: HfHubHTTPError, hub: Asked, revision: str) -> OperationError:  # noqa: PLR0911  # likewise
    name, status, headers = hub.name, error.response.status_code, error.response.headers
    if isinstance(error, GatedRepoError):
        return Failed(Reason.FORBIDDEN, _gated(hub) + own_words(headers))
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
        after = retry_after(headers)
        # A search has no name, and is asked without a token whatever the user does.
        return TryAgain(Reason.BUSY, rate_limited(after, token_helps=bool(name) and not hub.token), after=after)
    if status == 407:
        return TryAgain(Reason.UNAVAILABLE, PROXY_REFUSES)
    if status == 408 or status >= 500:
        message = f"The Hub at {hub.endpoint} answered {status}." + own_words(headers)
        return TryAgain(Reason.UNAVAILABLE, message, after=retry_after(headers))
    message = f"The Hub at {hub.endpoint} answered {status} to a request for {name!r}."
    return Failed(Reason.UNKNOWN, message + own_words(headers))


def _gated(hub: Asked) -> str:
    page = f"{hub.endpoint}/{hub.name}"
    if hub.token:
        how = (
            f"The account of this Hub token may not read it: accept its licence at {page}, or see there what is missing"
        )
        return f"{hub.name!r} is gated. {how}, then retry."
    return f"{hub.name!r} is gated: accept its licence at {page}, then retry with a Hub token of that account."


def _not_shown(error: HfHubHTTPError, hub: Asked, status: int) -> OperationError:
    """Return the error for a missing or private repository: the Hub does not distinguish them without access."""
    words = own_words(error.response.headers)
    # Olah sends RepoNotFound both for a wrong token and for a missing repository.
    if hub.token and status == 401 and error.response.headers.get("x-error-code") != "RepoNotFound":
        message = "The Hub does not accept this token: it is wrong or has expired. Retry with another one."
        return Failed(Reason.FORBIDDEN, message + words)
    if status == 403 and not isinstance(error, RepositoryNotFoundError):
        return Failed(Reason.FORBIDDEN, refused(f"the files of {hub.name!r}") + words)
    if hub.token:
        private = ", and that the Hub token is valid and its account may see it if it is private."
    else:
        private = ", or retry with a Hub token if it is private."
    return Failed(Reason.NOT_FOUND, f"The Hub shows no model repository {hub.name!r}: check its name{private}")


def _kind(error: Exception) -> str:
    """Return the error's type and the operating system's message; never its text, which may contain a signed URL."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return f"{type(error).__name__}: {cause.strerror}"
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
