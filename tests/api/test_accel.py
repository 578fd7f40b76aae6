"""Behind real proxies that send large files themselves, by the configurations of deploy/."""

import http.client
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest

from tests.api.files import Process
from tests.api.proxies import check_installed, running, temporary_folders
from tests.processes import free_port

_DEPLOY = Path(__file__).parents[2] / "deploy"
_LARGE, _SMALL = (os.urandom(size) for size in (3_000_000, 5_000))
_NAMES = {"large.bin": _LARGE, "sub folder/[x]+é %41?#.bin": _LARGE, "small.bin": _SMALL, "index.html": _LARGE}
_ASKS = {"X-Sendfile-Type": "X-Accel-Redirect"}


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("accelerated")
    for name, content in _NAMES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    folder.parent.chmod(0o755)
    with Process(folder, "--accel", str(folder)) as server:
        yield server


def _nginx(folder: Path, port: int, server: Process) -> list[str]:
    temporary = temporary_folders(folder)
    site = _changed(
        "nginx.conf",
        {
            "listen 80;": f"listen 127.0.0.1:{port};",
            " /depot-files/": f" {server.folder}/",
            " /models/": f" {server.folder}/",
        },
        server,
    )
    user = "user root;" if os.geteuid() == 0 else ""
    text = f"daemon off; {user} pid {folder}/pid; error_log stderr; events {{}}\nhttp {{ access_log off; {temporary}\n{site} }}"
    (folder / "nginx.conf").write_text(text)
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]


def _caddy(folder: Path, port: int, server: Process) -> list[str]:
    site = {"{$DEPOT_DOMAIN:depot.example.com} {": f"http://:{port} {{\n\tbind 127.0.0.1"}
    (folder / "Caddyfile").write_text(_changed("Caddyfile", site, server))
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


def _changed(name: str, changes: Mapping[str, str], server: Process) -> str:
    """The configuration as it is but for where it listens, and where the API and the storage are."""
    text = (_DEPLOY / name).read_text()
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for old, new in {**changes, "127.0.0.1:8080": f"127.0.0.1:{server.port}"}.items():
        assert old in text
        text = text.replace(old, new)
    return text


_PROXIES: dict[str, Callable[[Path, int, Process], list[str]]] = {"nginx": _nginx, "caddy": _caddy}


@pytest.fixture(scope="module", params=_PROXIES)
def proxy(request: pytest.FixtureRequest, server: Process, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    check_installed(request.param)
    folder, port = tmp_path_factory.mktemp(request.param), free_port()
    with running(_PROXIES[request.param](folder, port, server), folder, port) as listening:
        yield listening


def _ask(port: int, name: str, method: str = "GET", **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, f"/{quote(name)}", headers={k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def _copied(server: Process) -> int:
    """Bytes of files that the API has sent itself: those it left to a proxy are the rest."""
    return int(server.ended()["copied"])


@pytest.mark.parametrize("name", _NAMES)
def test_a_file_comes_whole_with_the_headers_that_clients_need(proxy: int, server: Process, name: str) -> None:
    before = _copied(server)
    answer = _ask(proxy, name)
    assert (answer.status, answer.body == _NAMES[name]) == (200, True)
    assert answer.headers["etag"] == '"own"'
    assert answer.headers["x-repo-commit"] == "c0ffee"
    assert answer.headers["x-linked-etag"] == '"own"'
    assert answer.headers["x-request-id"]
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-length"] == str(len(_NAMES[name]))
    assert not answer.headers.keys() & {"x-accel-redirect", "x-sendfile"}
    assert (_copied(server) > before) == (name == "small.bin")


def test_a_range_is_a_range(proxy: int, server: Process) -> None:
    before = _copied(server)
    answer = _ask(proxy, "large.bin", range="bytes=100-2000099")
    assert (answer.status, answer.body == _LARGE[100:2_000_100]) == (206, True)
    assert answer.headers["content-range"] == "bytes 100-2000099/3000000"
    assert answer.headers["etag"] == '"own"'
    assert _copied(server) == before
    answer = _ask(proxy, "large.bin", range="bytes=0-0")
    assert (answer.status, answer.body) == (206, _LARGE[:1])
    assert answer.headers["content-range"] == "bytes 0-0/3000000"


def test_a_clients_conditions_are_the_apis_to_judge(proxy: int, server: Process) -> None:
    modified = {"if_modified_since": "Fri, 01 Jan 2100 00:00:00 GMT", "if_none_match": '"another"'}
    assert _ask(proxy, "large.bin", **modified).status == 200
    before = _copied(server)
    answer = _ask(proxy, "large.bin", range="bytes=100-2000099", if_range='"own"')
    assert (answer.status, answer.body == _LARGE[100:2_000_100]) == (206, True)
    assert _copied(server) == before + 2_000_000


def test_a_head_is_the_apis(proxy: int) -> None:
    answer = _ask(proxy, "large.bin", "HEAD")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "3000000")
    assert answer.headers["etag"] == '"own"'


def test_nobody_gets_at_the_files_beside_the_api(proxy: int, server: Process) -> None:
    assert _ask(proxy, f"{server.folder}/large.bin"[1:]).status == 404


@pytest.mark.parametrize("kind", ["X-Accel-Redirect", "X-Sendfile"])
def test_what_a_client_asks_of_the_api_is_not_passed_on(proxy: int, kind: str) -> None:
    assert _ask(proxy, "large.bin", x_sendfile_type=kind).body == _LARGE


def test_a_client_without_a_proxy_gets_the_file(server: Process) -> None:
    assert _ask(server.port, "large.bin").body == _LARGE


def test_a_file_that_has_left_the_storage_is_sent_by_the_api(server: Process, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(_LARGE)
    (server.folder / "link.bin").symlink_to(elsewhere)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    for name, redirected in (("large.bin", True), ("link.bin", False)):
        connection.request("GET", f"/{name}", headers=_ASKS)
        answer = connection.getresponse()
        assert (answer.getheader("x-accel-redirect") is not None) == redirected
        assert answer.read() == (b"" if redirected else _LARGE)
    connection.close()
