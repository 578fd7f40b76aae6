"""Maps errors to HTTP: every error answer has the one shape that the contract defines."""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import compile_path

from app.db.errors import DatabaseUnreachable
from app.domain.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    ModelInUse,
    NoAnswer,
    NotFound,
    NotReady,
    Refusal,
    TooOften,
)
from app.http.wire import Error

_STATUS: Mapping[type[Refusal], HTTPStatus] = {
    BadRequest: HTTPStatus.BAD_REQUEST,
    Forbidden: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    NotReady: HTTPStatus.PRECONDITION_FAILED,
    ModelInUse: HTTPStatus.PRECONDITION_FAILED,
    TooOften: HTTPStatus.TOO_MANY_REQUESTS,
    NoAnswer: HTTPStatus.SERVICE_UNAVAILABLE,
}
_SAYS: Mapping[int, str] = {
    400: "The body could not be read: send one JSON object in UTF-8.",
    404: "There is nothing at this path. /docs lists what there is.",
    405: "This path does not take that method. /docs lists what it takes.",
    413: "The body is too large: at most 1 MiB is read.",
    415: "Send the body as JSON, with 'Content-Type: application/json'.",
}
RETRY_AFTER = "5"
"""Seconds after which to send a refused request again."""

log = structlog.get_logger()


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the error answers of a route's OpenAPI entry."""
    said: dict[int | str, dict[str, Any]] = {
        status: {"model": Error, "description": HTTPStatus(status).phrase} for status in statuses
    }
    # Also keeps FastAPI from listing a 422 of its own, which no client ever gets.
    return said | {"default": {"model": Error, "description": "Any other error has the same shape."}}


def install(app: FastAPI) -> None:
    """Register the handlers."""

    @app.exception_handler(Refusal)
    async def _refusal(_request: Request, error: Refusal) -> JSONResponse:
        extra: dict[str, Any] = {"field": error.field} if error.field else {}
        if error.reason:
            extra["reason"] = error.reason
        if isinstance(error, ModelInUse):
            extra["deployments"] = [str(deployment) for deployment in error.deployments]
        return answer(_STATUS[type(error)], error.message, headers=headers_of(error), **extra)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        message, field = explain(error.errors()[0])
        extra: dict[str, Any] = {"field": field} if field else {}
        return answer(HTTPStatus.BAD_REQUEST, message, **extra)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            # Each method is its own route, and the router reports only the first one's.
            headers["Allow"] = _allowed(request) or headers.get("Allow", "")
        return explained(HTTPStatus(error.status_code), str(error.detail), headers=headers)

    @app.exception_handler(DatabaseUnreachable)
    async def _database(_request: Request, error: DatabaseUnreachable) -> JSONResponse:
        then = "delete a model, or free space otherwise, then" if error.is_full else "in a while"
        message = f"{error} Nothing was changed; {then} send the request again."
        return answer(HTTPStatus.SERVICE_UNAVAILABLE, message, headers={"Retry-After": RETRY_AFTER})

    async def _bug(request: Request, error: Exception) -> JSONResponse:
        log.error("a request failed", method=request.method, path=request.url.path, exc_info=error)
        message = "The server failed to handle this request; its log says why. Nothing was changed."
        return answer(HTTPStatus.INTERNAL_SERVER_ERROR, message)

    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _bug)


def status_of(error: Refusal | HTTPException | RequestValidationError) -> HTTPStatus:
    """Return the HTTP status of an error's answer."""
    if isinstance(error, Refusal):
        return _STATUS[type(error)]
    return HTTPStatus(error.status_code) if isinstance(error, HTTPException) else HTTPStatus.BAD_REQUEST


def headers_of(error: Refusal) -> Mapping[str, str]:
    """Return the headers of a refusal's answer: after how many seconds to ask again, where that may help."""
    if not isinstance(error, TooOften | NoAnswer):
        return {}
    return {"Retry-After": RETRY_AFTER if error.after is None else str(math.ceil(error.after))}


def answer(status: HTTPStatus, message: str, *, headers: Mapping[str, str] | None = None, **extra: Any) -> JSONResponse:
    body = {
        "error": message,
        "message": message,
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": message,
        **extra,
    }
    return JSONResponse(body, status, headers=dict(headers or {}))


def explained(status: HTTPStatus, otherwise: str = "", *, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return the answer for a status, with its fixed sentence or else with `otherwise`."""
    return answer(status, _SAYS.get(status) or otherwise or status.phrase, headers=headers)


def explain(problem: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return a sentence on what is wrong, and its field; never the value, which may be a secret."""
    kind, where = problem["type"], [str(part) for part in problem["loc"][1:]]
    if kind == "json_invalid":
        return f"The body is not JSON: {problem['ctx']['error']}.", None
    if not where:
        return "The body must be a JSON object; /docs shows what it may hold.", None
    field = ".".join(where)
    if kind == "missing":
        return f"'{field}' is required.", field
    if kind == "string_pattern_mismatch":
        return f"'{field}' holds characters that can't be in it.", field
    message = problem["msg"].removeprefix("Value error, ")
    return f"'{field}' is wrong: {message[:1].lower()}{message[1:]}.", field


async def _gone(_request: Request, _error: Exception) -> JSONResponse:
    return answer(HTTPStatus.BAD_REQUEST, "The connection ended before all of the request was there: send it again.")


def _allowed(request: Request) -> str:
    """Return the methods that the path takes, as the document lists them."""
    path = request.url.path.removeprefix("/v2")
    paths = request.app.openapi()["paths"]
    # A path of its own is found before one with an id in its place.
    for template in (path, *paths):
        if template in paths and compile_path(template)[0].match(path):
            return ", ".join(method.upper() for method in paths[template])
    return ""
