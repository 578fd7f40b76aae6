"""Downloads that clients break off, wherever they are, leave nothing behind in the API."""

import hashlib
import socket
import ssl
import struct
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from random import Random

import httpx2
import pytest

from tests.conftest import StartDepot
from tests.depot import CREDENTIALS, Depot
from tests.fakehub.certificates import Certificates
from tests.fakehub.hub import Hub, Synthetic
from tests.processes import free_port, opened, until

_NAME, _LARGE = "acme/large", Synthetic(24 << 20, 7)
_PATHS = (f"{_NAME}/resolve/main/a.bin", f"{_NAME}/raw/main/a.bin", f"v2/{_NAME}/blobs/sha256:{_LARGE.sha256}")
_TIMES, _TOGETHER = 200, 20
_ANYONE = ssl.create_default_context()
_ANYONE.check_hostname, _ANYONE.verify_mode = False, ssl.CERT_NONE


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_aborted_downloads_leave_nothing(start_depot: StartDepot, hub: Hub, tmp_path: Path, tls: bool) -> None:
    hub.add(_NAME, {"a.bin": _LARGE})
    depot = start_depot(metrics_port=free_port())
    assert depot.wait(depot.create(_NAME)["id"])["state"] == "success"
    depot.client.close()
    if tls:
        _speak_tls(depot, Certificates(tmp_path))
    assert depot.api is not None
    _abort_many(depot, range(_TOGETHER), tls=tls)  # what it opens once, it has
    until(lambda: _active(depot) == 0, depot.logs)
    pid = depot.api.pid
    before = _opened(pid)

    _abort_many(depot, range(_TIMES), tls=tls)
    address = f"{'https' if tls else 'http'}://127.0.0.1:{depot.port}/{_PATHS[0]}"
    whole = httpx2.get(address, headers=CREDENTIALS, verify=_ANYONE, timeout=60).content
    assert hashlib.sha256(whole).hexdigest() == _LARGE.sha256
    assert _metric(depot, 'hub_requests_total{route="resolve",status="206"}') > _TIMES / 10
    until(lambda: _active(depot) == 0, depot.logs)
    until(lambda: not _opened(pid) - before, lambda: str(_opened(pid) - before))
    # Some are kept for the next files, and one for each of the database's connections: fewer than one for each download.
    assert _threads(pid) < _TIMES / 2
    assert '"level": "error"' not in depot.logs()
    assert "Traceback" not in depot.logs()


def _speak_tls(depot: Depot, certificates: Certificates) -> None:
    assert depot.api is not None
    depot.api.terminate()
    depot.api.wait()
    depot.environment |= {"DEPOT_TLS_CERTIFICATE": certificates.pem, "DEPOT_TLS_KEY": certificates.pem}
    depot.start_api()


def _abort_many(depot: Depot, numbers: range, *, tls: bool) -> None:
    with ThreadPoolExecutor(_TOGETHER) as pool:
        list(pool.map(lambda number: _abort(depot.port, Random(number), tls=tls), numbers))


def _abort(port: int, chance: Random, *, tls: bool) -> None:
    """Ask for the file by one of its routes, all of it or a range, and go at any point, with or without a reset."""
    path = chance.choice(_PATHS)
    first = chance.choice([0, chance.randrange(_LARGE.size)])
    headers = CREDENTIALS | {"Host": "depot"} | ({"Range": f"bytes={first}-"} if first else {})
    head = [f"GET /{path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    request = "\r\n".join(head).encode()
    left = chance.choice([0, 1, chance.randrange(100_000), chance.randrange(_LARGE.size), _LARGE.size - 1]) - first
    # A server may end the connection first: it has the request's end, or gives up a handshake.
    with suppress(ConnectionError, ssl.SSLError), _connected(port, chance.choice([4096, 1 << 20])) as plain:
        if chance.random() < 0.5:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if chance.random() < 0.05:
            plain.sendall(request[: len(request) // 2])
            return
        client = _ANYONE.wrap_socket(plain) if tls else plain
        with client:
            client.sendall(request)
            while left > 0 and (part := client.recv(min(left, 1 << 20))):
                left -= len(part)


def _connected(port: int, room: int) -> socket.socket:
    """A connection whose kernel holds about `room` bytes of what its client has not read."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    client.settimeout(60)
    client.connect(("127.0.0.1", port))
    return client


def _opened(pid: int) -> Counter[str]:
    """What the process has open, by kind or path; connections to the database are kept, whoever asked first."""
    return Counter(name.partition(":")[0] for name in opened(pid) if "depot.sqlite3" not in name)


def _threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def _active(depot: Depot) -> float:
    return _metric(depot, "hub_active_sends")


def _metric(depot: Depot, name: str) -> float:
    text = httpx2.get(f"http://127.0.0.1:{depot.api_metrics_port}/metrics", timeout=30).text
    (line,) = [line for line in text.splitlines() if line.startswith(f"modeldepot_{name} ")]
    return float(line.rpartition(" ")[2])
