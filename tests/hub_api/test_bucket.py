"""Files of models that are kept in a bucket: as those in a folder, through the API or from the object store itself."""

import hashlib
import http.client
import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from uuid import UUID

import httpx2
import pytest

from app.storage.base import Attempt
from tests.buckets import SERVERS, Place, Server
from tests.clients.test_hub_clients import VERSIONS
from tests.conftest import STORES, StartDepot, migrated
from tests.depot import CREDENTIALS, KEY, SECRET
from tests.environments import python_environment
from tests.hub_api.clients import environment, python
from tests.hub_api.conftest import gguf
from tests.processes import opened
from tests.published import COMMIT, Shelf, manifest_of, name_of, on_a_shelf, settings_for
from tests.servers import Redis

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
MIB = 1 << 20
NAME, LARGE = "acme/tiny", 48 * MIB
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "onnx/model O1 [x]+é.onnx": b"onnx" * 1000,
    "empty.txt": b"",
    "tiny-Q4_K_M.gguf": gguf("llama"),
    "large.bin": os.urandom(LARGE),
}
StartShelf = Callable[..., Shelf]
_LARGE = f"/{NAME}/resolve/main/large.bin"


@pytest.fixture(scope="module", params=STORES)
def shelf(
    request: pytest.FixtureRequest, redis_server: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shelf]:
    """On each server; which no test changes."""
    place: Place = request.getfixturevalue(request.param).place()
    folder = tmp_path_factory.mktemp("shelf")
    request.param = "sqlite"
    with on_a_shelf(place, folder, migrated(request, folder), redis_server.url, NAME, FILES) as shelf:
        yield shelf


@pytest.fixture
def start(start_depot: StartDepot, versitygw: Server) -> StartShelf:
    """Starts a shelf of the test's own."""

    def started(place: Place | None = None, **settings: object) -> Shelf:
        place = place or versitygw.place()
        return Shelf(start_depot(workers=0, **settings_for(place), **settings), place, NAME, FILES)

    return started


@pytest.mark.parametrize("path", FILES)
def test_a_file_comes_whole_with_the_headers_of_the_hub(shelf: Shelf, path: str) -> None:
    etag = f'"{hashlib.sha256(FILES[path]).hexdigest()}"'
    told = {
        "x-repo-commit": COMMIT,
        "etag": etag,
        "x-linked-etag": etag,
        "x-linked-size": str(len(FILES[path])),
        "content-length": str(len(FILES[path])),
        "accept-ranges": "bytes",
    }
    for method in ("GET", "HEAD"):
        answer = shelf.ask(method, f"/{NAME}/resolve/main/{path}")
        assert answer.status_code == 200
        assert {name: answer.headers[name] for name in told} == told
        assert answer.content == (FILES[path] if method == "GET" else b"")


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        (f"bytes={4 * MIB - 1}-{4 * MIB}", 4 * MIB - 1, 4 * MIB),
        ("bytes=1000-9437184", 1000, 9 * MIB),
        ("bytes=-16", LARGE - 16, LARGE - 1),
        (f"bytes={LARGE - 5}-{LARGE * 2}", LARGE - 5, LARGE - 1),
    ],
)
def test_a_range_comes_as_from_a_folder(shelf: Shelf, asked: str, first: int, last: int) -> None:
    answer = shelf.get(_LARGE, Range=asked)
    assert (answer.status_code, answer.headers["content-range"]) == (206, f"bytes {first}-{last}/{LARGE}")
    assert answer.content == FILES["large.bin"][first : last + 1]


def test_what_is_no_range_of_the_file_is_told_as_from_a_folder(shelf: Shelf) -> None:
    behind = shelf.get(_LARGE, Range=f"bytes={LARGE}-")
    assert (behind.status_code, behind.headers["content-range"]) == (416, f"bytes */{LARGE}")
    empty = shelf.get(f"/{NAME}/resolve/main/empty.txt", Range="bytes=0-0")
    assert (empty.status_code, empty.headers["content-range"]) == (200, "bytes */0")
    path, content = f"/{NAME}/resolve/main/config.json", FILES["config.json"]
    etag = f'"{hashlib.sha256(content).hexdigest()}"'
    assert shelf.get(path, If_None_Match=etag).status_code == 304
    assert shelf.get(path, Range="bytes=0-1", If_Range='"other"').content == content
    assert shelf.get(path, Range="bytes=0-1", If_Range=etag).content == content[:2]


def test_ollama_gets_a_model_too(shelf: Shelf) -> None:
    told = shelf.get(f"/v2/{NAME}/manifests/latest").json()
    digest = told["layers"][0]["digest"]
    assert shelf.get(f"/v2/{NAME}/blobs/{digest}").content == FILES["tiny-Q4_K_M.gguf"]
    config = shelf.get(f"/v2/{NAME}/blobs/{told['config']['digest']}").json()
    assert config["model_family"] == "llama"


@SQLITE
def test_slow_clients_hold_neither_threads_nor_connections_nor_much_memory(start: StartShelf) -> None:
    shelf = start()
    api = shelf.depot.api.pid if shelf.depot.api else 0
    shelf.get(_LARGE)
    before, number = _resident(api), 40
    with ExitStack() as slow:
        for _ in range(number):
            client = slow.enter_context(socket.create_connection((shelf.depot.host, shelf.depot.port), timeout=60))
            client.sendall(f"GET {_LARGE} HTTP/1.1\r\nHost: d\r\nAuthorization: Bearer {KEY}:{SECRET}\r\n\r\n".encode())
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        # More than there are threads: somebody else is served at once.
        assert shelf.get(_LARGE).content == FILES["large.bin"]
        # Two chunks of 2 MiB, and what the allocator keeps.
        assert (_resident(api) - before) / number < 12 * MIB
        assert _connections(api, shelf.place.server.port) <= 32
    assert shelf.get(f"/{NAME}/resolve/main/config.json").content == FILES["config.json"]


@SQLITE
def test_a_store_that_goes_away_cuts_the_connection_and_is_told_in_one_line(start: StartShelf) -> None:
    with SERVERS["versitygw"]() as server:
        shelf = start(server.place())
        with closing(http.client.HTTPConnection(shelf.depot.host, shelf.depot.port, timeout=120)) as line:
            line.request("GET", _LARGE, headers=CREDENTIALS)
            answer = line.getresponse()
            assert answer.read(1000) == FILES["large.bin"][:1000]
            server.stop()
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                answer.read()
        (told,) = [one for one in shelf.depot.logs().splitlines() if "can't be read to its end" in one]
        assert "does not answer" in told
        refused = shelf.get(_LARGE)
        assert (refused.status_code, "storage" in refused.json()["error"]) == (503, True)
        ready = httpx2.get(shelf.depot.address("/readyz"), timeout=60)
        assert (ready.status_code, ready.json()["checks"]["storage"]["ok"]) == (503, False)
        assert "DEPOT_S3" in ready.json()["checks"]["storage"]["message"]
        server.start()
        assert shelf.get(_LARGE).content == FILES["large.bin"]
    assert "Traceback" not in shelf.depot.logs()


@SQLITE
def test_only_what_was_published_is_sent_also_after_a_repair(start: StartShelf) -> None:
    shelf = start()
    path = f"/{NAME}/resolve/main/config.json"
    assert shelf.get(path).content == FILES["config.json"]
    shelf.place.objects.put(f"{shelf.folder}config.json", b'{"model_type": "evil"}')
    assert shelf.get(path).status_code == 503
    assert "storage verify" in shelf.depot.logs()
    store, repair = shelf.place.open(), _repair(shelf.model_id)
    with store.arrival(repair, mends=True) as arrival:
        arrival.put("config.json", FILES["config.json"])
        arrival.sync()
    store.mend(repair, manifest_of(shelf.model_id, NAME, FILES))
    assert shelf.get(path).content == FILES["config.json"]
    shelf.place.objects.delete(f"{shelf.folder}config.json")
    assert shelf.get(path).status_code == 503


@SQLITE
@pytest.mark.parametrize("version", ["own", "0.36.2"])
def test_huggingface_hub_follows_a_redirect_to_the_store(start: StartShelf, tmp_path: Path, version: str) -> None:
    shelf = start(files_redirect="on")
    code = "print(json.dumps(h.snapshot_download(given['name'])))"
    if version == "own":
        folder = python(shelf.depot, tmp_path, code, name=NAME)
    else:
        bin_ = python_environment(f"huggingface_hub-{version}", *VERSIONS[version])
        script = f"import json, huggingface_hub as h; given = {{'name': {NAME!r}}}; {code}"
        words = [str(bin_ / "python"), "-c", script]
        out = subprocess.run(
            words, env=environment(shelf.depot, tmp_path), capture_output=True, text=True, check=False, timeout=120
        )
        assert out.returncode == 0, out.stderr[-3000:]
        folder = json.loads(out.stdout.splitlines()[-1])
    assert {path: (Path(folder) / path).read_bytes() for path in FILES} == FILES
    assert shelf.depot.logs().count('"status": 302') >= len(FILES) - 1


@SQLITE
def test_what_is_asked_for_decides_about_a_redirect_and_no_address_is_logged(start: StartShelf) -> None:
    shelf = start(files_redirect="on")
    sent = shelf.get(_LARGE, Range="bytes=5-9")
    etag = f'"{hashlib.sha256(FILES["large.bin"]).hexdigest()}"'
    assert sent.status_code == 302
    told = {"x-linked-etag": etag, "x-linked-size": str(LARGE), "x-repo-commit": COMMIT, "cache-control": "no-store"}
    assert {name: sent.headers[name] for name in told} == told
    assert httpx2.get(sent.headers["location"], headers={"Range": "bytes=5-9"}).content == FILES["large.bin"][5:10]
    # These the API answers itself: an address is signed for GET, and the store has another ETag.
    assert shelf.ask("HEAD", _LARGE).headers["content-length"] == str(LARGE)
    assert shelf.get(_LARGE, Range="bytes=5-9", If_Range=etag).content == FILES["large.bin"][5:10]
    assert shelf.get(_LARGE, If_None_Match=etag).status_code == 304
    assert shelf.get(_LARGE, Range=f"bytes={LARGE}-").status_code == 416
    assert shelf.get(f"/{NAME}/resolve/main/empty.txt").status_code == 200
    words = ["curl", "-sfL", "-r", "8-", "-H", f"Authorization: Bearer {KEY}:{SECRET}"]
    out = subprocess.run([*words, shelf.depot.address(_LARGE)], capture_output=True, check=True, timeout=120)
    assert out.stdout == FILES["large.bin"][8:]
    assert "Signature" not in shelf.depot.logs()
    assert shelf.place.server.options.secret_key not in shelf.depot.logs()


def _repair(model_id: UUID) -> Attempt:
    return Attempt(model_id, name_of(NAME), UUID(int=1), 1)


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _connections(pid: int, port: int) -> int:
    """How many connections a process has to a port of this machine."""
    mine = set(opened(pid))
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(line[2].endswith(f":{port:04X}") and f"socket:[{line[9]}]" in mine for line in lines)
