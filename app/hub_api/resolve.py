"""Sends a file, or a range of it."""

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus

import structlog
from starlette.datastructures import Headers
from starlette.responses import Response

from app.http.pulls import pull_of
from app.http.sending import FileRange
from app.hub_api.calls import Call, entry_not_found, unavailable
from app.hub_api.entries import File
from app.hub_api.errors import HubError
from app.storage.base import OpenFile

_RANGE = re.compile(r"bytes=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*")
_TAG = re.compile(r'(?:W/)?"([^"]*)"|(\*)')

log = structlog.get_logger()


async def resolve(call: Call) -> Response:
    """Send a file of a revision by its path."""
    snapshot = await call.snapshot()
    file = (await call.entries(snapshot)).files.get(call.path)
    if file is None:
        raise entry_not_found(call, snapshot)
    return await send(call, file, {"X-Repo-Commit": snapshot.commit}, redirects=call.hub.redirects)


async def send(call: Call, file: File, headers: Mapping[str, str], *, redirects: bool = False) -> Response:
    """Return the answer with the bytes that are asked for. Raises `HubError` if the storage does not give them.

    `redirects`: whether it may be an address of the store itself. A HEAD is answered here: an address is signed for GET.
    """
    etag, asked = f'"{file.etag}"', call.request.headers
    headers = {
        **headers,
        "ETag": etag,
        # Proxies may replace the one above, and clients prefer this one.
        "X-Linked-Etag": etag,
        "X-Linked-Size": str(file.size),
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
    }
    if _matches(asked.get("if-none-match", ""), file.etag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    if call.request.method == "HEAD":
        return Response(headers=headers | {"Content-Length": str(file.size)})
    first, count, status = _range(asked, file, etag)
    if status is HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return Response(status_code=status, headers=headers | {"Content-Range": f"bytes */{file.size}"})
    if status is HTTPStatus.PARTIAL_CONTENT:
        headers["Content-Range"] = f"bytes {first}-{first + count - 1}/{file.size}"
    elif "range" in asked and not file.size:
        # Of an empty file no range is satisfiable, but 416 ends the Rust client, which asks for the first byte.
        headers["Content-Range"] = "bytes */0"
    if (
        redirects
        and file.size
        and "if-range" not in asked
        and (address := await call.hub.in_thread(_signed, call, file))
    ):
        (await _begin(call, file))(count)
        return _redirect(address, headers)
    opened = await call.hub.in_thread(open_file, call, file)
    ended = await _begin(call, file)
    headers["Content-Length"] = str(count)
    return FileRange(opened, first, count, status, headers, ended, threads=call.hub.threads)


async def _begin(call: Call, file: File) -> Callable[[int], None]:
    """Note that a file is sent; return what is called with the number of bytes at its end."""
    hub = call.hub
    await hub.pulls.begin(pull_of(call.request, call.key, file.model_id))
    hub.metrics.begin()

    def ended(number: int) -> None:
        hub.metrics.end(number)
        hub.pulls.sent(file.model_id, number)

    return ended


def _signed(call: Call, file: File) -> str:
    """Return the file's address in the store; empty if the store has none. Raises `HubError`."""
    try:
        signed = call.hub.store.sign(file.model_id, [file.path])
    except OSError as error:
        raise _unreadable(file, error) from None
    return signed.urls[file.path] if signed else ""


def _redirect(address: str, headers: Mapping[str, str]) -> Response:
    """Return the Hub's own kind of answer for a file that is elsewhere, which has the ETag of what is there."""
    mine = {name: value for name, value in headers.items() if name.startswith("X-")}
    return Response(status_code=HTTPStatus.FOUND, headers=mine | {"Location": address, "Cache-Control": "no-store"})


def open_file(call: Call, file: File) -> OpenFile:
    """Open a file. Raises `HubError` if it can't be read, or is not as long as when it was verified."""
    try:
        opened = call.hub.store.open(file.model_id, file.path)
    except OSError as error:
        raise _unreadable(file, error) from None
    if opened.size != file.size:
        opened.close()
        log.warning("a kept file has another size: modeldepot storage verify", model=str(file.model_id), path=file.path)
        raise unavailable(
            "The depot's copy of this file is damaged: its operator mends it by `modeldepot storage verify`."
        )
    return opened


def _unreadable(file: File, error: OSError) -> HubError:
    log.warning("a kept file can't be read", model=str(file.model_id), path=file.path, error=error.strerror)
    return unavailable("The depot's storage can't be used at the moment: its operator finds why in the log.")


def _range(asked: Headers, file: File, etag: str) -> tuple[int, int, HTTPStatus]:
    """Return the first byte, the number of bytes and the status. Several ranges, or none that is one, are all of it."""
    found = _RANGE.fullmatch(asked.get("range", ""))
    whole = 0, file.size, HTTPStatus.OK
    if not found or not any(found.groups()) or not file.size or asked.get("if-range", etag) != etag:
        return whole
    first, last = found.groups()
    if not first:
        start, end = max(file.size - int(last), 0), file.size - 1
    else:
        start, end = int(first), min(int(last), file.size - 1) if last else file.size - 1
        if last and int(last) < start:
            return whole
    if start > end:
        return 0, 0, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
    return start, end - start + 1, HTTPStatus.PARTIAL_CONTENT


def _matches(tags: str, etag: str) -> bool:
    return any(etag == tag or any_tag for tag, any_tag in _TAG.findall(tags))
