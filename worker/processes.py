"""The worker's side of download processes: forks them, exchanges JSON lines with them, kills them."""

import asyncio
import os
import signal
import socket
import struct
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import count
from typing import Self

from app.domain.errors import Reason, TryAgain
from worker.download.protocol import (
    Bandwidth,
    Crash,
    Described,
    Done,
    Failure,
    Found,
    Matches,
    Message,
    decode,
    encode,
)
from worker.download.trust import CERTIFICATE, KEY

MESSAGE, FORK = struct.Struct("=QI"), 0
"""The message to `worker.download.forkserver`: the process's number, and a signal or `FORK`."""
_DIED = "The download's process ended unexpectedly."
_LINE = 1 << 26
"""The longest line a download process may send, in bytes: a manifest of 100,000 checksums is 7 MB."""
_S3 = "app.storage.s3.store"
"""The module that imports botocore, which takes as long as huggingface_hub."""
_LAST_SYNC = 1.0
"""Seconds that a download process may take to sync its last bytes to disk."""
# Variables that a download process needs for its libraries and the network; none is a secret of the worker.
# Variables of botocore, its credentials too: only where the storage is a bucket.
_OBJECT_STORE = "AWS_"
_PASSED = (
    "PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "PYTHONSAFEPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", CERTIFICATE, KEY,
)  # fmt: skip
HUGGING_FACE = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_XET_TELEMETRY_ENABLED": "0",
    # Use the caller's token or none: never one stored on this machine.
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    # The shared cache would give one caller's files to another.
    "HF_HUB_DISABLE_SHARED_BLOBS": "1",
    "HF_XET_CLIENT_READ_TIMEOUT": "30s",
    # By default hf_xet buffers up to 6 GB.
    "HF_XET_RECONSTRUCTION_DOWNLOAD_BUFFER_SIZE": "64mb",
    "HF_XET_RECONSTRUCTION_DOWNLOAD_BUFFER_PERFILE_SIZE": "16mb",
    "HF_XET_RECONSTRUCTION_DOWNLOAD_BUFFER_LIMIT": "128mb",
    # Each request over Xet allocates and frees megabytes: glibc keeps them for the next one, which saves 7 % of CPU.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
}


class DownloadProcess:
    """A process that runs `worker.download.main`."""

    def __init__(self, end: Callable[[int], None], stdin: asyncio.WriteTransport, stdout: asyncio.StreamReader) -> None:
        self._end = end
        self._stdin = stdin
        self._stdout = stdout
        self.saves = False

    def save_at_end(self) -> None:
        """Let it save what has arrived when it is ended."""
        self.saves = True

    def send(self, message: Message) -> None:
        self._write(encode(message))

    def beat(self) -> None:
        """Tell the process that the lease is still held."""
        self._write(b"\n")

    async def messages(self) -> AsyncIterator[Message]:
        """Yield its messages up to `Done` or the answer to a question. Raise the error of a `Failure`, or `TryAgain` if it dies."""
        while line := await self._stdout.readline():
            message = decode(line)
            if isinstance(message, Failure):
                raise message.error()
            if isinstance(message, Crash):
                raise RuntimeError(f"the download's process failed: {message.message}")  # noqa: TRY004  # its own bug
            yield message
            if isinstance(message, Done | Found | Described | Matches):
                return
        raise TryAgain(Reason.FAULT, _DIED)

    async def stop(self) -> None:
        """Let it save what has arrived, for `_LAST_SYNC` seconds at most, then kill it."""
        self._end(signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SYNC):
                await self._ended()
        await self.kill()

    async def kill(self) -> None:
        """Kill it, whatever it waits for; return when it can write nothing more."""
        self._end(signal.SIGKILL)
        self._stdin.close()
        await asyncio.shield(self._ended())

    async def _ended(self) -> None:
        """Read to the end of its output, which stays open until its last thread has closed all files."""
        while await self._stdout.read(_LINE):
            pass

    def _write(self, data: bytes) -> None:
        if not self._stdin.is_closing():
            self._stdin.write(data)


class ForkServer:
    """The worker's side of `worker.download.forkserver`."""

    def __init__(self, process: asyncio.subprocess.Process, line: socket.socket) -> None:
        self._process = process
        self._line = line
        self._numbers = count()

    @classmethod
    async def start(cls, environment: Mapping[str, str], preload: Sequence[str]) -> Self:
        """`preload`: modules that it imports beside those that every download process needs."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "worker.download.forkserver",
                *preload,
                stdin=theirs.fileno(),
                env=environment,
                # Out of reach of the terminal's Ctrl-C. Not a new session: Linux divides CPU time between sessions,
                # and the API's session would get a small share beside those of all download processes.
                process_group=0,
            )
        return cls(process, ours)

    @property
    def is_alive(self) -> bool:
        """Whether it runs. It never sends anything: the socket is only readable once its end is closed."""
        try:
            self._line.recv(1)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    async def fork(self) -> DownloadProcess:
        """Fork a download process. Raise `TryAgain` if the fork server is gone."""
        number = next(self._numbers)
        (job, stdin), (stdout, answers) = os.pipe(), os.pipe()
        ours = os.fdopen(stdin, "wb", buffering=0), os.fdopen(stdout, "rb", buffering=0)
        try:
            socket.send_fds(self._line, [MESSAGE.pack(number, FORK)], [job, answers])
        except OSError:
            for file in ours:
                file.close()
            raise TryAgain(Reason.FAULT, _DIED) from None
        finally:
            os.close(job)
            os.close(answers)
        loop, output = asyncio.get_running_loop(), asyncio.StreamReader(limit=_LINE)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(output), ours[1])
        transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, ours[0])
        return DownloadProcess(partial(self._signal, number), transport, output)

    async def close(self) -> None:
        self._line.close()
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    def _signal(self, number: int, signal_: int) -> None:
        # Without the fork server, a download process ends when its standard input is closed.
        with suppress(OSError):
            self._line.send(MESSAGE.pack(number, signal_))


class DownloadPool:
    """Download processes for one Hub. They share `bandwidth` bytes per second evenly; 0 is no limit.

    `to_bucket`: whether they send files to an object store.
    """

    def __init__(self, hub_endpoint: str, cache: str, bandwidth: int, *, to_bucket: bool = False) -> None:
        self._environment = {name: os.environ[name] for name in _PASSED if name in os.environ}
        self._environment |= HUGGING_FACE | {"HF_ENDPOINT": hub_endpoint, "HF_HOME": cache}
        self._preload = [_S3] if to_bucket else []
        if to_bucket:
            self._environment |= {name: value for name, value in os.environ.items() if name.startswith(_OBJECT_STORE)}
        self._bandwidth = bandwidth
        self._busy: set[DownloadProcess] = set()
        self._server: ForkServer | None = None
        self._retired = False
        self._starting = asyncio.Lock()

    async def prepare(self) -> ForkServer:
        """Start the fork server unless it is alive."""
        async with self._starting:
            if self._server is None or not self._server.is_alive:
                if self._server is not None:
                    await self._server.close()
                self._server = await ForkServer.start(self._environment, self._preload)
            return self._server

    @asynccontextmanager
    async def child(self, *, downloads: bool = True) -> AsyncIterator[DownloadProcess]:
        """Yield a download process that is gone when the block ends. Only with `downloads` it shares the bandwidth."""
        forking = asyncio.create_task(self._fork())
        try:
            child = await asyncio.shield(forking)
            if downloads:
                self._busy.add(child)
                self._share()
            yield child
        finally:
            child = await forking
            self._busy.discard(child)
            await (child.stop() if self._retired or child.saves else child.kill())
            self._share()

    def retire(self) -> None:
        """Let running processes save what has arrived when they are stopped: the worker stops."""
        self._retired = True

    async def close(self) -> None:
        if self._server is not None:
            await self._server.close()

    async def _fork(self) -> DownloadProcess:
        return await (await self.prepare()).fork()

    def _share(self) -> None:
        if self._bandwidth:
            for child in self._busy:
                child.send(Bandwidth(max(self._bandwidth // len(self._busy), 1)))
