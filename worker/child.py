"""The worker's end of the pipe to a download's process: started ahead of time, spoken to in JSON lines, killed."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from app.domain.errors import Failed, OperationError, Reason, TryAgain

_LINE = 1 << 26
"""The longest line a child may send, in bytes: a manifest of 100,000 checksums is 7 MB."""
_LAST_SYNC = 1.0
"""Seconds that a child may take to put its last bytes on disk."""
# What a child needs to find its libraries and the network; no setting and no secret of the worker is among it.
_PASSED = (
    "PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "PYTHONSAFEPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip
HUGGING_FACE = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_XET_TELEMETRY_ENABLED": "0",
    # The caller's token or none: never one that happens to be on this machine.
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    # Its cache would hand one caller's files to another.
    "HF_HUB_DISABLE_SHARED_BLOBS": "1",
    "HF_XET_CLIENT_READ_TIMEOUT": "30s",
    # By default hf_xet buffers up to 6 GB.
    "HF_XET_RECONSTRUCTION_DOWNLOAD_BUFFER_SIZE": "64mb",
    "HF_XET_RECONSTRUCTION_DOWNLOAD_BUFFER_PERFILE_SIZE": "16mb",
    "HF_XET_RECONSTRUCTION_DOWNLOAD_BUFFER_LIMIT": "128mb",
}


class Child:
    """A process that runs `worker.download`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def send(self, **message: Any) -> None:
        self._write(json.dumps(message).encode() + b"\n")

    def beat(self) -> None:
        """Tell it that the lease is still held."""
        self._write(b"\n")

    async def messages(self) -> AsyncIterator[Mapping[str, Any]]:
        """What it says, until `done`. Raises `Failed` or `TryAgain` as it says, and `TryAgain` when it dies."""
        output = self._process.stdout
        assert output is not None  # noqa: S101  # it is a pipe
        while line := await output.readline():
            message: Mapping[str, Any] = json.loads(line)
            if message["event"] == "failed":
                raise _failure(message)
            if message["event"] == "crashed":
                raise RuntimeError(f"the download's process failed: {message['message']}")
            yield message
            if message["event"] == "done":
                return
        code = await self._process.wait()
        raise TryAgain(Reason.FAULT, f"The download's process ended unexpectedly (exit code {code}).")

    async def stop(self) -> None:
        """Let it keep what has arrived, unless that takes long, and end it."""
        with suppress(ProcessLookupError):
            self._process.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SYNC):
                await self._process.wait()
        await self.kill()

    async def kill(self) -> None:
        """End it, whatever it is waiting for; return when it is gone and writes nothing more."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await asyncio.shield(self._process.wait())

    def _write(self, data: bytes) -> None:
        stream = self._process.stdin
        if stream is not None and not stream.is_closing():
            stream.write(data)


class Nursery:
    """Children for one Hub. One is kept ready, because importing huggingface_hub takes half a second.

    They share `bandwidth` bytes a second evenly; 0 is no limit.
    """

    def __init__(self, hub_endpoint: str, cache: str, bandwidth: int) -> None:
        self._environment = {name: os.environ[name] for name in _PASSED if name in os.environ}
        self._environment |= HUGGING_FACE | {"HF_ENDPOINT": hub_endpoint, "HF_HOME": cache}
        self._bandwidth = bandwidth
        self._busy: set[Child] = set()
        self._ready: asyncio.Task[Child] | None = None
        self._retired = False

    def prepare(self) -> None:
        """Start the next child, if it is not there yet."""
        if self._ready is None and not self._retired:
            self._ready = asyncio.create_task(self._start())

    @asynccontextmanager
    async def child(self) -> AsyncIterator[Child]:
        """A child of one's own; it is gone when the block ends."""
        ready, self._ready = self._ready or asyncio.create_task(self._start()), None
        child = await ready
        self._busy.add(child)
        self._share()
        try:
            yield child
        finally:
            self._busy.discard(child)
            await (child.stop() if self._retired else child.kill())
            self._share()
            self.prepare()

    def retire(self) -> None:
        """Keep no child ready any more, and let those at work save what has arrived: the worker stops."""
        self._retired = True

    async def close(self) -> None:
        if self._ready is not None:
            await (await self._ready).kill()

    def _share(self) -> None:
        if self._bandwidth:
            for child in self._busy:
                child.send(bandwidth=max(self._bandwidth // len(self._busy), 1))

    async def _start(self) -> Child:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "worker.download",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._environment,
            # Out of reach of the terminal's Ctrl-C. Not in a session of its own: Linux shares the processor out between
            # sessions, and the API's would get one small part beside those of all the children.
            process_group=0,
            limit=_LINE,
        )
        return Child(process)


def _failure(message: Mapping[str, Any]) -> OperationError:
    reason = Reason(message["reason"])
    if message["again"]:
        return TryAgain(reason, message["message"], after=message["after"])
    return Failed(reason, message["message"])
