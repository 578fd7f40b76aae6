"""Files that the depot's own server sends: whole, whatever clients, disks and stops do, and without a trace left behind."""

import asyncio
import http.client
import json
import os
import signal
import socket
import ssl
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from app.http.sendfile import THREADS, ClientGone, until_writable
from tests.api.files import Process
from tests.api.raw import connect
from tests.fakehub.certificates import Certificates
from tests.processes import BUSY, opened, until

_MIB = 1 << 20
_LARGE = 48 * _MIB
"""More than the kernel holds between a server and a client that does not read."""
_CLOSE = "Connection: close\r\n"
_FILES = {"large": _LARGE, "medium": 3 * _MIB + 17, "chunk": _MIB, "small": 70_000, "empty": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sending") / "files"
    folder.mkdir()
    for name, size in _FILES.items():
        (folder / name).write_bytes(os.urandom(size))
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Process]:
    with Process(folder) as server:
        yield server


@pytest.fixture(scope="module", params=["http", "https"])
def address(request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """With and without the extension: TLS has none."""
    if request.param == "http":
        yield f"http://127.0.0.1:{request.getfixturevalue('server').port}"
        return
    certificates = Certificates(tmp_path_factory.mktemp("certificates"))
    with Process(folder, "--certificate", str(certificates.pem)) as server:
        yield f"https://127.0.0.1:{server.port}"


def _connection(address: str) -> http.client.HTTPConnection:
    scheme, _, host = address.partition("://")
    if scheme == "http":
        return http.client.HTTPConnection(host, timeout=60)
    return http.client.HTTPSConnection(host, timeout=60, context=ssl._create_unverified_context())


def _asked(port: int, name: str, headers: str = "", *, room: int = 0) -> socket.socket:
    """A client that asked for a file and reads nothing yet. `room`: bytes that its kernel takes meanwhile."""
    client = socket.socket()
    if room:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    client.settimeout(60)
    client.connect(("127.0.0.1", port))
    client.sendall(f"GET /{name} HTTP/1.1\r\nHost: depot\r\n{headers}\r\n".encode())
    return client


def _rest(client: socket.socket) -> bytes:
    """All that comes until the server closes."""
    said = bytearray()
    while part := client.recv(_MIB):
        said += part
    return bytes(said)


def _abort(client: socket.socket) -> None:
    """Close it with a reset."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def _line(server: Process, path: str) -> dict[str, object]:
    """The request's line in the log."""
    lines = [json.loads(line) for line in server.logs().splitlines()]
    (line,) = [line for line in lines if line["event"] == "answered" and line["path"] == f"/{path}"]
    assert isinstance(line, dict)
    return line


@pytest.mark.parametrize("name", _FILES)
def test_a_file_comes_whole_and_the_connection_is_kept(address: str, folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    connection = _connection(address)
    for _ in range(3):
        connection.request("GET", f"/{name}")
        kept = connection.sock
        answer = connection.getresponse()
        assert (answer.status, answer.read() == content) == (200, True)
        connection.request("HEAD", f"/{name}")
        answer = connection.getresponse()
        assert (answer.getheader("content-length"), answer.read()) == (str(len(content)), b"")
        assert connection.sock is kept
    connection.close()


@pytest.mark.parametrize(
    ("first", "last"),
    [(0, 0), (1, 2 * _MIB), (_LARGE - 5, _LARGE - 1), (_LARGE - 3 * _MIB, _LARGE - 1), (7, 7 + _MIB), (8, _MIB + 7)],
)
def test_a_range_is_what_was_asked_for(address: str, folder: Path, first: int, last: int) -> None:
    connection = _connection(address)
    connection.request("GET", "/large", headers={"Range": f"bytes={first}-{last}"})
    answer = connection.getresponse()
    assert answer.status == 206
    assert answer.read() == (folder / "large").read_bytes()[first : last + 1]
    connection.close()


def test_requests_that_wait_behind_a_file_are_answered_after_it(server: Process, folder: Path) -> None:
    names = ("medium", "small", "large", "medium", "empty", "small")
    contents = [(folder / name).read_bytes() for name in names]
    with connect(server.port) as client:
        requests = [f"GET /{name} HTTP/1.1\r\nHost: depot\r\n\r\n" for name in names[:-1]]
        last = f"GET /{names[-1]} HTTP/1.1\r\nHost: depot\r\nConnection: close\r\n\r\n"
        client.sendall("".join([*requests, last]).encode())
        said = _rest(client)
    for content in contents:
        head, _, said = said.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert said[: len(content)] == content
        said = said[len(content) :]
    assert said == b""


def test_the_log_has_a_files_bytes(server: Process, folder: Path) -> None:
    (folder / "logged").write_bytes(bytes(2 * _MIB))
    with _asked(server.port, "logged", _CLOSE) as client:
        _rest(client)
    until(lambda: "/logged" in server.logs(), server.logs)
    line = _line(server, "logged")
    assert (line["bytes"], line["status"]) == (2 * _MIB, 200)


def test_slow_clients_hold_no_threads_and_nobody_up(server: Process, folder: Path) -> None:
    content = (folder / "large").read_bytes()
    with ExitStack() as stack:
        slow = [stack.enter_context(_asked(server.port, "large", _CLOSE, room=65_536)) for _ in range(60)]
        for client in slow:
            assert client.recv(1)
        connection = _connection(f"http://127.0.0.1:{server.port}")
        connection.request("GET", "/large")
        assert connection.getresponse().read() == content
        connection.close()
        # asyncio's own threads read small files; the main one is one more.
        assert server.ended()["threads"] <= THREADS + min(32, (os.cpu_count() or 1) + 4) + 1
        assert _rest(slow[0]).endswith(content)
    _is_clean(server)


def _is_clean(server: Process) -> None:
    """Nothing is left of any request: the process has the descriptors that it had, or fewer."""

    def clean() -> bool:
        found = opened(server.process.pid)
        return not any(str(server.folder) in one for one in found) and sum("socket:" in one for one in found) <= 4

    until(clean, lambda: "\n".join(opened(server.process.pid)))


def test_aborted_downloads_leave_no_descriptor(server: Process) -> None:
    before = len(server.ended()["sent"])

    def aborted(number: int) -> None:
        client = _asked(server.port, "large", room=4096 if number % 3 else 0)
        for _ in range(number % 5):
            client.recv(100_000)
        if number % 2:
            _abort(client)
        else:
            client.close()

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(aborted, range(200)))
    until(lambda: len(server.ended()["sent"]) - before >= 160, server.logs)  # A reset may come before its request.
    _is_clean(server)
    assert '"level": "error"' not in server.logs()


@pytest.mark.parametrize("name", ["large", "small"])
@pytest.mark.parametrize("read", [0, 1, 5_000_000, -100])
@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_client_may_go_at_any_point(server: Process, name: str, read: int, how: str) -> None:
    path = f"{name}?{read}{how}"
    before = len(server.ended()["sent"])
    client = _asked(server.port, path)
    left = (_FILES[name] + read if read < 0 else read) if name == "large" else min(max(read, 0), 1)
    while left > 0:
        left -= len(client.recv(min(left, _MIB)))
    _abort(client) if how == "reset" else client.close()
    if read:
        until(lambda: len(server.ended()["sent"]) > before, server.logs)
    _is_clean(server)
    assert '"level": "error"' not in server.logs()


def test_a_client_that_only_reads_on_gets_all(server: Process, folder: Path) -> None:
    with _asked(server.port, "large", _CLOSE) as client:
        assert client.recv(1)
        client.shutdown(socket.SHUT_WR)
        assert _rest(client).partition(b"\r\n\r\n")[2] == (folder / "large").read_bytes()


def test_a_client_that_takes_nothing_is_cut_off(folder: Path) -> None:
    with Process(folder, "--patience", "1") as server, _asked(server.port, "large", room=4096):
        until(lambda: '"path": "/large"' in server.logs(), server.logs)
        sent = _line(server, "large")["bytes"]
        assert isinstance(sent, int)
        assert 0 < sent < _LARGE
        _is_clean(server)


def _fill(server: socket.socket) -> None:
    """Send until the kernel takes no more."""
    with suppress(BlockingIOError):
        while True:
            server.send(bytes(_MIB))


async def test_a_client_that_takes_little_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.connect(listener.getsockname())
        ours, _ = listener.accept()
        with ours:
            ours.setblocking(False)
            _fill(ours)
            patience, loop = 0.4, asyncio.get_running_loop()

            def read() -> None:
                client.recv(100_000)
                reading.append(loop.call_later(patience / 4, read))

            reading = [loop.call_later(patience / 4, read)]
            await until_writable(ours.fileno(), patience)
            assert len(reading) > 8, "it took longer than its patience"
            reading[-1].cancel()
            _fill(ours)
            with pytest.raises(ClientGone):
                await until_writable(ours.fileno(), patience)


@pytest.mark.parametrize("tls", [False, True])
def test_a_file_that_ends_early_closes_the_connection_short(folder: Path, tmp_path: Path, tls: bool) -> None:
    file = folder / f"cut{tls}"
    file.write_bytes(bytes(_LARGE))
    options = ("--certificate", str(Certificates(tmp_path).pem)) if tls else ()
    with Process(folder, *options) as server, ExitStack() as stack:
        client = stack.enter_context(socket.socket())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.settimeout(60)
        client.connect(("127.0.0.1", server.port))
        if tls:
            client = stack.enter_context(ssl._create_unverified_context().wrap_socket(client))
        client.sendall(f"GET /{file.name} HTTP/1.1\r\nHost: depot\r\n\r\n".encode())
        said = client.recv(1)
        os.truncate(file, 10)
        head, _, body = (said + _rest(client)).partition(b"\r\n\r\n")
        assert f"content-length: {_LARGE}".encode() in head
        assert 0 < len(body) < _LARGE
        assert set(body) == {0}
        told = "a file can't be read to its end"
        until(lambda: told in server.logs(), server.logs)
        (line,) = [json.loads(line) for line in server.logs().splitlines() if told in line]
        assert line["path"] == f"/{file.name}"
        assert line["error"] == "the file is shorter than it was"
        assert "storage verify" in line["event"]


def test_a_file_that_is_removed_is_sent_to_its_end(server: Process, folder: Path) -> None:
    content = os.urandom(_LARGE)
    (folder / "removed").write_bytes(content)
    with _asked(server.port, "removed", _CLOSE, room=65_536) as client:
        said = client.recv(1)
        (folder / "removed").unlink()
        assert (said + _rest(client)).partition(b"\r\n\r\n")[2] == content
    with _asked(server.port, "removed", _CLOSE) as client:
        assert _rest(client).startswith(b"HTTP/1.1 404 ")


def test_a_stop_waits_for_files_and_takes_no_new_clients(folder: Path) -> None:
    with Process(folder) as server, _asked(server.port, "large", room=65_536) as client:
        said = client.recv(1)
        server.process.terminate()

        def refused() -> bool:
            with socket.socket() as other:
                return other.connect_ex(("127.0.0.1", server.port)) != 0

        until(refused, server.logs)
        assert server.process.poll() is None
        assert (said + _rest(client)).partition(b"\r\n\r\n")[2] == (folder / "large").read_bytes()
        assert server.process.wait(BUSY) in {-signal.SIGTERM, 0}


def test_a_stop_waits_no_longer_than_it_was_told(folder: Path) -> None:
    """Seven seconds at least: so long any request has."""
    with Process(folder, "--drain", "0") as server, _asked(server.port, "large", room=4096) as client:
        assert client.recv(1)
        server.process.terminate()
        assert server.process.wait(7 + BUSY) in {-signal.SIGTERM, 0}
        assert "a request was cut off: the server stops" in server.logs()
        body = _rest(client).partition(b"\r\n\r\n")[2]
        assert len(body) < _LARGE
