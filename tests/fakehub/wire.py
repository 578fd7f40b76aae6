"""HTTP/1.1 over real sockets, one thread a connection, where every byte can be late, wrong, or the last one."""

import fcntl
import os
import socket
import ssl
import struct
import termios
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import BinaryIO, NamedTuple, Protocol

from tests.fakehub.content import BLOCK, Content, File
from tests.fakehub.exchange import Answer, Log, Origin, Request
from tests.fakehub.faults import Fault


class Speeds(Protocol):
    """Bytes a second, of each connection and of all; looked at for every block."""

    rate: int | None
    total_rate: int | None


class Reply(NamedTuple):
    answer: Answer
    fault: Fault | None
    """One that breaks the line while the answer is sent."""


class Server:
    """The Hub, its CDN, and the CAS of Xet, each at a port of its own."""

    def __init__(
        self,
        reply: Callable[[Request], Reply],
        log: Log,
        speeds: Speeds,
        host: str,
        port: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.reply, self.log, self.speeds = reply, log, speeds
        self._tls = tls
        self.closing = threading.Event()
        self.pace = Pace()
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listeners: dict[Origin, socket.socket] = {
            "hub": socket.create_server((host, port)),
            "cdn": socket.create_server((host, 0)),
            "cas": socket.create_server((host, 0)),
        }
        for origin, listener in self._listeners.items():
            self._start(self._accept, origin, listener)

    def port(self, origin: Origin) -> int:
        return int(self._listeners[origin].getsockname()[1])

    def close(self) -> None:
        """Nothing is answered any more, whoever waits is let go, and no thread or socket is left."""
        self.closing.set()
        for listener in self._listeners.values():
            socket.create_connection(listener.getsockname()).close()  # wakes the thread that accepts
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for listener in self._listeners.values():
            listener.close()

    def _accept(self, origin: Origin, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            with self._lock:
                if self.closing.is_set():
                    connection.close()
                    return
                if self._tls:
                    connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                self._connections.add(connection)
                self._threads = [thread for thread in self._threads if thread.is_alive()]
                self._start(self._serve, origin, connection)

    def _start(self, work: Callable[[Origin, socket.socket], None], origin: Origin, with_: socket.socket) -> None:
        thread = threading.Thread(target=work, args=(origin, with_), name=f"{origin}-{work.__name__}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self, origin: Origin, connection: socket.socket) -> None:
        try:
            if isinstance(connection, ssl.SSLSocket):
                connection.do_handshake()
            Line(self, origin, connection).talk()
        except _Reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except (OSError, _HangUp):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        finally:
            with self._lock:
                self._connections.discard(connection)
                connection.close()


class Line:
    """One connection: requests are read from it and answered in turn, until one side hangs up."""

    def __init__(self, server: Server, origin: Origin, connection: socket.socket) -> None:
        self._server = server
        self._origin: Origin = origin
        self._socket = connection
        self._received = b""
        self._pace = Pace()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def talk(self) -> None:
        while True:
            request = self._read()
            self._server.log.add(request)
            answer, fault = self._server.reply(request)
            request.status = answer.status
            try:
                self._answer(request, answer, fault)
            finally:
                self._server.log.finish(request)
            if request.headers.get("connection", "").lower() == "close":
                return

    def _read(self) -> Request:
        while b"\r\n\r\n" not in self._received:
            self._receive()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        while len(self._received) < length:
            self._receive()
        body, self._received = self._received[:length], self._received[length:]
        return Request(self._origin, method, target, headers, body, self._socket.getpeername()[1])

    def _receive(self) -> None:
        received = self._socket.recv(1 << 16)
        if not received:
            raise _HangUp
        self._received += received

    def _answer(self, request: Request, answer: Answer, fault: Fault | None) -> None:
        length = 0 if request.method == "HEAD" else answer.length
        at_once = fault is not None and (fault.after_bytes is None or not length)
        if fault and at_once:
            self._break(fault)
        self._socket.sendall(answer.head())
        if not length:
            return
        cut = length if fault is None or at_once else min(fault.after_bytes or 0, length)
        slow = fault.rate if fault and fault.kind == "trickle" else None
        self._send(request, answer, answer.start, answer.start + cut, slow if at_once else None)
        if fault and not at_once:
            self._break(fault)
            self._send(request, answer, answer.start + cut, answer.end, slow)
        if answer.lies:
            raise _HangUp

    def _break(self, fault: Fault) -> None:
        match fault.kind:
            case "drop":
                raise _HangUp
            case "reset":
                self._drain()
                raise _Reset
            case "stall":
                self._stall(fault.seconds)
            case _:
                pass

    def _stall(self, seconds: float | None) -> None:
        """Nothing, until the client leaves, the Hub closes (which looks the same from here), or the time is over."""
        self._socket.settimeout(seconds)
        with suppress(TimeoutError):
            while True:
                self._receive()
        self._socket.settimeout(None)

    def _drain(self) -> None:
        """An RST throws away what is not sent yet; the client is to get all bytes before it."""
        pending = struct.pack("i", 1)
        for _ in range(2000):
            with suppress(OSError):
                pending = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, struct.pack("i", 0))
            if not struct.unpack("i", pending)[0] or self._server.closing.wait(0.001):
                return

    def _send(self, request: Request, answer: Answer, start: int, stop: int, slow: int | None) -> None:
        with ExitStack() as stack:
            content = answer.content
            file = stack.enter_context(content.path.open("rb")) if isinstance(content, File) else None
            while start < stop:
                rate = slow or self._server.speeds.rate
                total = self._server.speeds.total_rate
                step = min(stop - start, BLOCK, *(max(1, limit // 20) for limit in (rate, total) if limit))
                self._wait(step, rate, total)
                self._count(request, answer, step)  # before the client has it: whoever has it finds it counted
                sent = 0
                try:
                    sent = self._send_block(content, file, start, step)
                finally:
                    self._count(request, answer, sent - step)
                start += sent

    def _count(self, request: Request, answer: Answer, size: int) -> None:
        if answer.link:
            answer.link.bytes_sent += size
        self._server.log.count(request, size)

    def _send_block(self, content: Content, file: BinaryIO | None, start: int, size: int) -> int:
        if file is not None and isinstance(self._socket, ssl.SSLSocket):
            return self._socket.send(os.pread(file.fileno(), size, start))
        if file is not None:
            return os.sendfile(self._socket.fileno(), file.fileno(), start, size)
        return self._socket.send(next(content.blocks(start, start + size)))

    def _wait(self, size: int, rate: int | None, total: int | None) -> None:
        delay = max(self._pace.delay(size, rate), self._server.pace.delay(size, total))
        if delay and self._server.closing.wait(delay):
            raise _HangUp


class Pace:
    """When the next bytes are due, at a certain rate."""

    def __init__(self) -> None:
        self._free_at = 0.0
        self._lock = threading.Lock()

    def delay(self, size: int, rate: int | None) -> float:
        if rate is None:
            return 0.0
        with self._lock:
            now = time.monotonic()
            self._free_at = max(now, self._free_at) + size / rate
            return self._free_at - now


class _HangUp(Exception):
    """The connection ends here."""


class _Reset(Exception):
    """It ends with an RST."""
