"""Checks the answer to a request for a file's bytes; the errors of such a request."""

from collections.abc import Mapping

from app.domain.errors import Failed, Reason
from worker.download.listing import HubFile
from worker.download.refusals import PROXY_REFUSES, rate_limited, refused, retry_after

_PAGES = (".html", ".htm", ".xhtml")


class Trouble(Exception):
    """A request failed temporarily. `relocate`: ask the Hub for a new link. `after`: seconds the server asks to wait.

    `crowded`: fewer requests at once may help.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        after: float | None = None,
        relocate: bool = False,
        crowded: bool = False,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.after = after
        self.relocate = relocate
        self.crowded = crowded


class NoRanges(Exception):
    """The server sent the file from its beginning although a later part was asked for."""


class WrongLength(Exception):
    """The server's file does not have the manifest's size."""


def check(
    status: int,
    headers: Mapping[str, str],
    file: HubFile,
    start: int,
    length: int,
    *,
    at_hub: bool,
    anonymous: bool = False,
) -> None:
    """Raise unless the answer carries `length` bytes of the file from `start`, or the whole file if `start` is 0.

    `anonymous`: no token was sent.
    """
    if status == 416:
        raise WrongLength
    if status not in {200, 206}:
        raise _refusal(status, headers, file.path, at_hub=at_hub, anonymous=anonymous)
    if headers.get("content-type", "").startswith("text/html") and not file.path.lower().endswith(_PAGES):
        message = f"A web page came in place of {file.path!r}: something between here and the Hub may block it."
        raise Trouble(Reason.UNAVAILABLE, message, relocate=True)
    announced = headers.get("content-length")
    encoded = headers.get("content-encoding", "identity") != "identity"  # although not requested; curl decodes it
    if status == 200:
        if not encoded and announced not in {None, str(file.size)}:
            raise WrongLength
        if start:
            raise NoRanges
        return
    unit, _, total = headers.get("content-range", "").partition("/")
    if encoded or not unit.startswith(f"bytes {start}-"):
        raise NoRanges
    if total not in {str(file.size), "*"} or int(announced or 0) > length:
        raise WrongLength


def _refusal(  # noqa: PLR0911  # a table, one line each
    status: int, headers: Mapping[str, str], path: str, *, at_hub: bool, anonymous: bool
) -> Trouble | Failed:
    who, after = "The Hub" if at_hub else "The Hub's CDN", retry_after(headers)
    if status == 429:
        message = rate_limited(after, token_helps=at_hub and anonymous)
        return Trouble(Reason.BUSY, message, after=after, crowded=True)
    if status == 407:
        return Trouble(Reason.UNAVAILABLE, PROXY_REFUSES)
    if status == 408 or status >= 500:
        message = f"{who} answered {status} to {path!r}."
        return Trouble(Reason.UNAVAILABLE, message, after=after, crowded=status == 503)
    if not at_hub and status in {400, 401, 403, 404, 410}:
        return Trouble(Reason.UNAVAILABLE, f"{who} no longer accepts its own link to {path!r}.", relocate=True)
    if status in {401, 403}:
        return Failed(Reason.FORBIDDEN, refused(f"the file {path!r}"))
    if status == 404:
        return Failed(Reason.NOT_FOUND, f"The Hub lists the file {path!r} but does not have it.")
    return Failed(Reason.UNKNOWN, f"{who} answered {status} to {path!r}.")
