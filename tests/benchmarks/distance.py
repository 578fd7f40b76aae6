"""A line that is long: a relay on loopback that holds all bytes for some time, both ways.

As a program: `python -m tests.benchmarks.distance HOST:PORT MS` prints the port that leads there. `tc netem` could lose
packets as well, but few of the kernels that benchmarks run on have it.
"""

import asyncio
import subprocess
import sys
from contextlib import suppress
from typing import Self

_BLOCK = 1 << 16
_UNDER_WAY = 8 << 20
"""Bytes that a line holds, so that none is slower than its delay makes it."""


class Distance:
    """From `with` to its end `port` leads to another one on loopback, `delay` ms away, there and back."""

    def __init__(self, port: int, delay: int) -> None:
        self._words = [sys.executable, "-m", "tests.benchmarks.distance", str(port), str(delay)]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._words, stdout=subprocess.PIPE)
        assert self._process.stdout
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()


async def _serve(port: int, delay: float) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(delay)  # The client's own half of a handshake is loopback's.
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_carry(reader, far_writer, delay / 2), _carry(far_reader, writer, delay / 2))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_UNDER_WAY // _BLOCK)
    clock = asyncio.get_running_loop().time

    async def arrive() -> None:
        while True:
            due, data = await line.get()
            await asyncio.sleep(max(0.0, due - clock()))
            if not data:
                writer.close()
                return
            writer.write(data)
            await writer.drain()

    arriving = asyncio.create_task(arrive())
    with suppress(OSError):
        while data := await reader.read(_BLOCK):
            await line.put((clock() + seconds, data))
    await line.put((clock() + seconds, b""))
    with suppress(OSError):
        await arriving


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2]) / 1000))
