"""Answers with a file, or a range of it."""

import asyncio
import errno
from collections.abc import Callable, Mapping
from concurrent.futures import Executor

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.http.sendfile import EXTENSION
from app.storage.base import OpenFile

CHUNK = 1 << 20
"""Bytes that are read at a time. Up to so many are sent without the extension, which costs more than it saves there."""
_REMOTE_CHUNK = 2 << 20
"""The same for a file without a descriptor: each is a request to an object store."""

log = structlog.get_logger()


class FileRange(Response):
    """The bytes of `file` from `offset` on, `count` of them. It closes `file`, and then calls `sent`.

    `threads` read it where the kernel can't send it; the loop's own by default. `sent` is called once, with the number
    of bytes that were sent, however it ends. If a byte can't be read the connection is closed short of the declared
    length.
    """

    def __init__(
        self,
        file: OpenFile,
        offset: int,
        count: int,
        status: int,
        headers: Mapping[str, str],
        sent: Callable[[int], None] | None = None,
        *,
        threads: Executor | None = None,
    ) -> None:
        super().__init__(None, status, headers)
        self.headers["content-length"] = str(count)
        self._file, self._offset, self._count, self._sent = file, offset, count, sent
        self._threads = threads
        self._done = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._answer(scope, receive, send)
        except OSError as error:
            log.error(  # noqa: TRY400  # a disk's error is no bug: a traceback tells nothing
                "a file can't be read to its end: look at the storage, then run `modeldepot storage verify`",
                path=scope["path"],
                offset=self._offset + self._done,
                error=error.strerror,
            )
        finally:
            self._file.close()
            scope.setdefault("state", {})["bytes"] = self._done
            if self._sent:
                self._sent(self._done)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] == "HEAD" or not self._count:
            await send({"type": "http.response.body"})
        elif self._count > CHUNK and self._file.fd is not None and EXTENSION in scope.get("extensions", {}):
            message = {"type": EXTENSION, "file": self._file.fd, "offset": self._offset, "count": self._count}
            await send({**message, "progress": self._progress})
        else:
            await self._read(receive, send)

    async def _read(self, receive: Receive, send: Send) -> None:
        """Send in chunks, until the client is gone: `send` does not tell. One is read while another is sent."""
        gone = asyncio.create_task(_disconnected(receive))
        reading = self._begin_chunk()
        try:
            while reading and not gone.done():
                chunk = await reading
                if not chunk:
                    raise OSError(errno.ENODATA, "the file is shorter than it was")
                self._progress(len(chunk))
                reading = self._begin_chunk()
                await send({"type": "http.response.body", "body": chunk, "more_body": reading is not None})
        finally:
            gone.cancel()
            if reading:
                # The thread may go on, and read another file of that number: its bytes go nowhere.
                reading.cancel()

    def _begin_chunk(self) -> asyncio.Future[bytes] | None:
        """Have a thread read the next chunk; return None at the end."""
        size = min(CHUNK if self._file.fd is not None else _REMOTE_CHUNK, self._count - self._done)
        if not size:
            return None
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._threads, self._file.read, self._offset + self._done, size)

    def _progress(self, count: int) -> None:
        self._done += count


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
