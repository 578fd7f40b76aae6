"""Files go from the page cache to a client's socket by `os.sendfile`: the server's side of ASGI's zero-copy send.

A thread sends while its client keeps up. While a client doesn't, the loop waits for its socket: a slow client holds no
thread. Measured by tests/benchmarks/serving.py.
"""

import asyncio
import errno
import fcntl
import os
import select
import struct
import sys
import termios
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

EXTENSION = "http.response.zerocopysend"
"""ASGI's name of the message and of the extension. Here a message also has `progress`, called with each number of bytes
that were sent, and it is the whole body."""
THREADS = 32
_STEP = 16 << 20
"""Bytes per call: a thread is told to stop between two of them."""
_TURN = 0.25
"""Seconds after which a send gives way to those that wait for a thread."""
_KEEPS_UP = 20
"""Milliseconds within which a client's socket takes more, so that its thread waits for it."""
_NICER = 5
"""How much nicer the threads that send are than the loop's."""
_CLIENT = frozenset(
    {
        errno.EPIPE,
        errno.ECONNRESET,
        errno.ECONNABORTED,
        errno.ENOTCONN,
        errno.ETIMEDOUT,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.ENETDOWN,
    }
)
"""Errors of the socket. All others are the file's."""


class ClientGone(Exception):
    """The client closed the connection, or takes nothing any more."""


class FileSender:
    """Sends the files of all connections, from `THREADS` threads. A client that takes nothing for `patience` s is cut off."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._pool = ThreadPoolExecutor(THREADS, "sendfile", _give_way)

    def offered(self, app: ASGIApp, cycle: RequestResponseCycle) -> ASGIApp:
        """Return `app` with the extension in its scope. TLS has none, as the kernel can't encrypt."""
        if cycle.transport.get_extra_info("ssl_object"):
            return app

        async def with_files(scope: Scope, receive: Receive, send: Send) -> None:
            async def extended(message: Message) -> None:
                if message["type"] == EXTENSION:
                    await self._send(cycle, message)
                else:
                    await send(message)

            scope["extensions"] = {**scope.get("extensions", {}), EXTENSION: {}}
            await app(scope, receive, extended)

        return with_files

    async def _send(self, cycle: RequestResponseCycle, message: Message) -> None:
        """Send the body. Raises `OSError` if the file can't be read to its end; nothing if the client is gone."""
        try:
            if not cycle.disconnected:
                await _head_sent(cycle)
                await self._transfer(_Transfer(cycle.transport, message), message["progress"])
        except ClientGone:
            _end(cycle)
        except OSError:
            _end(cycle)
            raise
        else:
            cycle.expected_content_length = 0
            await cycle.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _transfer(self, transfer: "_Transfer", progress: Any) -> None:
        burst: Future[None] | None = None
        try:
            while transfer.left:
                before = transfer.left
                burst = self._pool.submit(transfer.burst)
                try:
                    await asyncio.wrap_future(burst)
                finally:
                    progress(before - transfer.left)
                if transfer.left:
                    await until_writable(transfer.socket, self._patience)
        finally:
            transfer.stopped = True
            # A thread may still be using the descriptors of a cancelled send. They are closed after it.
            if burst:
                burst.add_done_callback(lambda _: transfer.close())
            else:
                transfer.close()


class _Transfer:
    """One send, with descriptors of its own: the connection's may be closed, and their numbers reused, at any time."""

    def __init__(self, transport: asyncio.Transport, message: Message) -> None:
        self._at, self.left = message["offset"], message["count"]
        self.stopped = False
        try:
            self.socket = os.dup(transport.get_extra_info("socket").fileno())
        except OSError:
            raise ClientGone from None  # Its socket has no number any more.
        try:
            self._file = os.dup(message["file"])
        except OSError:
            os.close(self.socket)
            raise

    def burst(self) -> None:
        """Send until all is sent, the client doesn't keep up, or the turn is over. Runs in a thread."""
        poll, ends = None, time.monotonic() + _TURN
        while self.left and not self.stopped and time.monotonic() < ends:
            try:
                sent = os.sendfile(self.socket, self._file, self._at, min(self.left, _STEP))
            except BlockingIOError:
                if poll is None:
                    poll = select.poll()
                    poll.register(self.socket, select.POLLOUT)
                if not poll.poll(_KEEPS_UP):
                    return
            except OSError as error:
                raise ClientGone if error.errno in _CLIENT else error from None
            else:
                if not sent:
                    raise OSError(errno.ENODATA, "the file is shorter than it was")
                self._at += sent
                self.left -= sent

    def close(self) -> None:
        os.close(self.socket)
        os.close(self._file)


async def _head_sent(cycle: RequestResponseCycle) -> None:
    """Wait until the transport holds no byte, which would come after the file's."""
    transport = cycle.transport
    if transport.is_closing():
        raise ClientGone
    transport.set_write_buffer_limits(high=0)  # Writing pauses until all is written.
    await cycle.flow.drain()
    if cycle.disconnected or transport.is_closing():
        raise ClientGone
    transport.set_write_buffer_limits()


async def until_writable(socket: int, patience: float) -> None:
    """Wait until the socket takes more. Raises `ClientGone` if the client took nothing for `patience` seconds."""
    loop = asyncio.get_running_loop()
    writable: asyncio.Future[None] = loop.create_future()

    def woken() -> None:
        if not writable.done():
            writable.set_result(None)

    loop.add_writer(socket, woken)
    try:
        queued = _queued(socket)
        # A socket is not writable before a third of its buffer is free, which takes a very slow client minutes.
        while not (await asyncio.wait([writable], timeout=patience))[0]:
            before, queued = queued, _queued(socket)
            if queued >= before:
                raise ClientGone
    finally:
        loop.remove_writer(socket)


def _give_way() -> None:
    """Let the loop's thread go first where the processor is short: it answers everybody else meanwhile."""
    if sys.platform == "linux":  # Elsewhere it would be the whole process.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + _NICER)


def _queued(socket: int) -> int:
    """Return the bytes that the client has not acknowledged."""
    answer: bytes = fcntl.ioctl(socket, termios.TIOCOUTQ, bytes(4))
    (queued,) = struct.unpack("i", answer)
    return int(queued)


def _end(cycle: RequestResponseCycle) -> None:
    """Close the connection short of what the head promised, which tells the client that bytes are missing."""
    cycle.disconnected = True
    cycle.transport.abort()
