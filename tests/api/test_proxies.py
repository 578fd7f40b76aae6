"""Behind a real reverse proxy that keeps its connections: nobody's request begins with what another client left there."""

import http.client
import json
import select
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.api.proxies import check_installed, running, temporary_folders
from tests.api.raw import AUTHORIZATION, api_alone, connect
from tests.api.test_framing import OFFERS
from tests.depot import CREDENTIALS, Depot
from tests.processes import free_port

_PAUSES = (0, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.03)
"""Seconds between the packets of an attack: one of them is right for a server that takes the second for a request."""
_NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log stderr;
events {{ worker_connections 256; }}
http {{
  access_log off;
  {temporary}
  upstream depot {{ server 127.0.0.1:{depot}; keepalive 1; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://depot; proxy_http_version 1.1; proxy_request_buffering off;
      proxy_set_header Host $host; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection;
    }}
  }}
}}
"""
_CADDY = """
{{
  admin off
}}
http://:{port} {{
  bind 127.0.0.1
  reverse_proxy 127.0.0.1:{depot} {{
    transport http {{
      max_conns_per_host 1
    }}
  }}
}}
"""


def _nginx(folder: Path, port: int, depot: int) -> list[str]:
    temporary = temporary_folders(folder)
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, port=port, depot=depot, temporary=temporary))
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]


def _caddy(folder: Path, port: int, depot: int) -> list[str]:
    (folder / "Caddyfile").write_text(_CADDY.format(port=port, depot=depot))
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


_PROXIES: dict[str, Callable[[Path, int, int], list[str]]] = {"nginx": _nginx, "caddy": _caddy}


@pytest.fixture(scope="module")
def depot(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Depot]:
    with api_alone(migrated_sqlite, tmp_path_factory.mktemp("proxied"), 30.0) as depot:
        yield depot


@pytest.fixture(scope="module", params=_PROXIES)
def proxy(request: pytest.FixtureRequest, depot: Depot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a proxy in front of the depot."""
    check_installed(request.param)
    folder, port = tmp_path_factory.mktemp(request.param), free_port()
    with running(_PROXIES[request.param](folder, port, depot.port), folder, port) as listening:
        yield listening


@pytest.mark.parametrize("offer", OFFERS)
def test_what_a_stranger_leaves_is_not_the_beginning_of_the_next_request(proxy: int, offer: str) -> None:
    # It comes in two packets, and so much in the first that a proxy passes it on before it has the second.
    first, left = b"\r\n" * 4096, b"GET /v2/ai/deployment/00000000-0000-4000-8000-00000000dead HTTP/1.1\r\nX-Rest: "
    head = b"POST /v2/ai/model HTTP/1.1\r\nHost: depot\r\nContent-Type: application/json\r\n" + OFFERS[offer]
    for pause in 3 * _PAUSES:
        with connect(proxy) as stranger:
            stranger.sendall(head + b"Content-Length: %d\r\n\r\n" % (len(first) + len(left)) + first)
            select.select([stranger], [], [], pause)
            stranger.sendall(left)
            stranger.recv(65_536)
            victim = http.client.HTTPConnection("127.0.0.1", proxy, timeout=20)
            victim.request("GET", "/v2/zone")
            answer = victim.getresponse()
            assert (answer.status, "zones" in json.loads(answer.read())) == (200, True)
            victim.request("GET", "/v2/ai/model", headers=CREDENTIALS)
            answer = victim.getresponse()
            assert (answer.status, "models" in json.loads(answer.read())) == (200, True)
            victim.close()


@pytest.mark.parametrize("offer", OFFERS)
def test_a_body_gets_through_whatever_is_offered(proxy: int, offer: str) -> None:
    body = json.dumps({"name": f"acme/{offer}-{proxy}"}).encode()
    head = b"POST /v2/ai/model HTTP/1.1\r\nHost: depot\r\nContent-Type: application/json\r\n" + OFFERS[offer]
    with connect(proxy) as client:
        client.sendall(head + AUTHORIZATION + b"Content-Length: %d\r\n\r\n" % len(body))
        client.sendall(body)
        assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")
