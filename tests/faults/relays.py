"""What stands between a download and its Hub: a TLS endpoint, and a proxy that counts."""

import base64
import socket
import ssl
import threading
from contextlib import ExitStack, suppress
from typing import Self
from urllib.parse import urlsplit

from tests.fakehub.hub import Hub

Address = tuple[str, int]
_ANYONE = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_ANYONE.check_hostname, _ANYONE.verify_mode = False, ssl.CERT_NONE


class Relay:
    """A server on loopback that passes bytes between its clients and `target`, over TLS towards the clients."""

    def __init__(self, target: Address | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._target, self._tls = target, tls
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._closing = False

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._closing = True
            for line in self._open:
                with suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)
        socket.create_connection(self._listener.getsockname()).close()  # wakes the thread that accepts
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def serve(self, client: socket.socket) -> None:
        assert self._target
        self.join(client, self._target)

    def join(self, client: socket.socket, target: Address, *, first: bytes = b"", greeting: bytes = b"") -> None:
        """Pass bytes both ways until either side ends; `first` goes to the target, `greeting` to the client."""
        with socket.create_connection(target) as server:
            self._hold(server)
            server.sendall(first)
            client.sendall(greeting)
            back = self._run(self._pump, server, client)
            self._pump(client, server)
            back.join()
            with self._lock:
                self._open.discard(server)

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if self._closing:
                client.close()
                return
            self._hold(client)
            self._run(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        line = client
        with suppress(OSError):
            if self._tls:
                line = self._tls.wrap_socket(client, server_side=True)
                self._hold(line)
            self.serve(line)
        with self._lock:
            self._open -= {client, line}
        line.close()
        client.close()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    def _hold(self, line: socket.socket) -> None:
        with self._lock:
            self._open.add(line)
            if self._closing:
                raise ConnectionAbortedError

    def _run(self, work: object, *arguments: object) -> threading.Thread:
        assert callable(work)
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread


class Proxy(Relay):
    """A proxy for both kinds of address; it may ask for a `login`, as name:password."""

    def __init__(self, login: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls=tls)
        self.asked: list[str] = []
        """What was let through: host:port of each tunnel, the URL of each plain request."""
        self.refused = 0
        self._login = base64.b64encode(login.encode()).decode() if login else None

    def serve(self, client: socket.socket) -> None:
        head = _head(client)
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        method, url, _ = first.split(" ")
        if self._login and headers.get("proxy-authorization") != f"Basic {self._login}":
            self.refused += 1
            client.sendall(
                b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            return
        self.asked.append(url)
        if method == "CONNECT":
            host, _, port = url.rpartition(":")
            self.join(client, (host, int(port)), greeting=b"HTTP/1.1 200 Connection established\r\n\r\n")
            return
        parts = urlsplit(self.resolve(url))
        assert parts.hostname
        own = [line for line in lines if line and not line.lower().startswith(("proxy-", "connection:"))]
        target = parts._replace(scheme="", netloc="").geturl() or "/"
        request = "\r\n".join([f"{method} {target} HTTP/1.1", *own, "Connection: close", "", ""]).encode("latin-1")
        self._forward(client, (parts.hostname, parts.port or 80), request, tls=parts.scheme == "https")

    def resolve(self, url: str) -> str:
        """The URL with a host that can be connected to."""
        return url

    def _forward(self, client: socket.socket, target: Address, request: bytes, *, tls: bool) -> None:
        """One request and its answer, after which the connection ends: the client is told so."""
        with ExitStack() as stack:
            server = stack.enter_context(socket.create_connection(target))
            if tls:
                server = stack.enter_context(_ANYONE.wrap_socket(server))
            self._hold(server)
            server.sendall(request)
            status, _, rest = _head(server).partition(b"\r\n")
            client.sendall(status + b"\r\nConnection: close\r\n" + rest)
            self._pump(server, client)
            with self._lock:
                self._open.discard(server)


class Below(Proxy):
    """A server that has a Hub below a path, as artifact stores have. Elsewhere it has nothing."""

    def __init__(self, hub: Hub, path: str) -> None:
        super().__init__()
        self._origin, self._path, self.trust = hub.endpoint, path, hub.trust

    def __enter__(self) -> Self:
        super().__enter__()
        self.endpoint = f"http://127.0.0.1:{self.port}{self._path}"
        return self

    def resolve(self, url: str) -> str:
        if not url.startswith(f"{self._path}/"):
            return f"{self._origin}/nothing-is-here"
        return self._origin + url.removeprefix(self._path)


class Socks(Relay):
    """A SOCKS 5 proxy (RFC 1928), which may ask for a `login`, as name:password (RFC 1929)."""

    def __init__(self, login: str | None = None) -> None:
        super().__init__()
        self.asked: list[str] = []
        """host:port of what was let through."""
        self._login = login

    def serve(self, client: socket.socket) -> None:
        _, count = _exactly(client, 2)
        _exactly(client, count)
        client.sendall(b"\x05\x02" if self._login else b"\x05\x00")
        if self._login:
            _, length = _exactly(client, 2)
            name = _exactly(client, length)
            password = _exactly(client, _exactly(client, 1)[0])
            right = f"{name.decode()}:{password.decode()}" == self._login
            client.sendall(b"\x01\x00" if right else b"\x01\x01")
            if not right:
                return
        _, _, _, kind = _exactly(client, 4)
        address = _exactly(client, 4 if kind == 1 else _exactly(client, 1)[0])
        host = socket.inet_ntoa(address) if kind == 1 else address.decode()
        port = int.from_bytes(_exactly(client, 2))
        self.asked.append(f"{host}:{port}")
        self.join(client, (host, port), greeting=b"\x05\x00\x00\x01" + bytes(6))


def _exactly(line: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = line.recv(count - len(data))
        if not more:
            raise ConnectionAbortedError
        data += more
    return data


def _head(line: socket.socket) -> bytes:
    """All up to the empty line, read byte by byte so that nothing of what follows is taken."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = line.recv(1)
        if not byte:
            raise ConnectionAbortedError
        head += byte
    return head
