"""Sends a range of an open file."""

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_BLOCK = 1 << 20
"""Bytes that are read at once."""


class OpenFile(Protocol):
    """A file that is open for reading."""

    @property
    def fd(self) -> int: ...

    def close(self) -> None: ...


class FileRange(Response):
    """`count` bytes of a file from `offset` on. It owns the file, and closes it.

    `sent` is told the number of bytes that were sent when the answer ends, however it ends.
    """

    def __init__(
        self,
        file: OpenFile,
        offset: int,
        count: int,
        status: int,
        headers: Mapping[str, str],
        sent: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__(None, status, headers)
        self._file, self._offset, self._count, self._sent = file, offset, count, sent

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_disconnected(receive))
        done, reading = 0, None
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            while done < self._count and not gone.done():
                size = min(_BLOCK, self._count - done)
                reading = asyncio.ensure_future(asyncio.to_thread(os.pread, self._file.fd, size, self._offset + done))
                data = await asyncio.shield(reading)
                if not data:
                    raise OSError("the file has become shorter")
                await send({"type": "http.response.body", "body": data, "more_body": True})
                done += len(data)
            await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()
            if reading is not None and not reading.done():
                # A thread can't be stopped: it must not read from another file that gets the same number.
                with suppress(OSError):
                    await asyncio.shield(reading)
            self._file.close()
            if self._sent:
                self._sent(done)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
