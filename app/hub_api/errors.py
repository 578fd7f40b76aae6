"""Errors in the Hub's shape: clients show the sentence in `X-Error-Message` with the codes below, and hide most others."""

from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus

from starlette.responses import JSONResponse, Response

_LONGEST = 1000
"""Characters of a sentence in a header."""


class Code(StrEnum):
    """The codes that clients turn into errors of their own."""

    REPO = "RepoNotFound"
    REVISION = "RevisionNotFound"
    ENTRY = "EntryNotFound"
    GATED = "GatedRepo"


class HubError(Exception):
    """A refused request. `message` is a sentence that tells its reader what to do."""

    def __init__(
        self,
        message: str,
        code: Code | None = None,
        *,
        status: HTTPStatus = HTTPStatus.NOT_FOUND,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.code, self.status, self.headers = message, code, status, headers or {}

    def answer(self) -> Response:
        headers = {"X-Error-Message": _in_header(self.message), **self.headers}
        if self.code:
            headers["X-Error-Code"] = self.code
        return JSONResponse({"error": self.message}, self.status, headers)


def _in_header(text: str) -> str:
    """Return `text` in ASCII, on one line: it may repeat what a client or the Hub sent."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    return plain[:_LONGEST].encode("ascii", "replace").decode()
