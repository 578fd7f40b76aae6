"""What stands around the API: proxies that it trusts or does not, a path that it is served under, and TLS."""

import base64
import os
import re
import ssl
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
import trustme

from app.db.session import Database
from app.services import audit
from tests import by_hand
from tests.api.test_auth import sign
from tests.conftest import StartDepot
from tests.console.test_session import PAGES
from tests.depot import CREDENTIALS, KEY, SECRET, Depot

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def ask(depot: Depot, forwarded: str, **credentials: str) -> int:
    headers = {**(credentials or CREDENTIALS), "X-Forwarded-For": forwarded}
    return depot.client.delete(f"/ai/model/{uuid4()}", headers=headers).status_code


def addresses(database_url: str) -> list[str]:
    """Where the changes came from, as the audit has it."""

    async def look(database: Database) -> list[str]:
        async with database.read() as connection:
            return [row.address for row in await audit.latest(connection, 100, KEY)]

    found: list[str] = by_hand.run(database_url, look)
    return found


def guesses(depot: Depot, number: int, forwarded: str) -> list[int]:
    """The answers to wrong credentials, each for another key, as if `forwarded` were where they come from."""
    wrong = [f"Bearer EXOguess{guess:03}:a-wrong-secret-of-23" for guess in range(number)]
    return [ask(depot, forwarded.format(guess), Authorization=value) for guess, value in enumerate(wrong)]


def test_nobody_is_believed_where_a_request_comes_from(start_depot: StartDepot, database_url: str) -> None:
    depot = start_depot(workers=0)
    assert ask(depot, "203.0.113.9") == 404
    assert addresses(database_url) == ["127.0.0.1"]
    # Another address each time, and still one that guesses.
    assert guesses(depot, 40, "203.0.113.{}")[-1] == 429


def test_a_trusted_proxy_tells_where_a_request_comes_from(start_depot: StartDepot, database_url: str) -> None:
    depot = start_depot(workers=0, trusted_proxies="192.0.2.0/24, 127.0.0.1")
    # What stands before the address that the proxy added is the client's own word.
    assert ask(depot, "198.51.100.1, 203.0.113.9") == 404
    # A chain of two proxies, of which both are trusted.
    assert ask(depot, "198.51.100.1, 203.0.113.10, 192.0.2.1") == 404
    assert ask(depot, "2001:db8::1") == 404
    assert ask(depot, "nonsense" * 50) == 404
    assert addresses(database_url) == ["203.0.113.9", "203.0.113.10", "2001:db8::1", "unknown"]
    assert guesses(depot, 40, "203.0.113.66")[-1] == 429
    assert guesses(depot, 1, "203.0.113.67") == [403]
    assert guesses(depot, 40, "198.51.100.{}, 203.0.113.68")[-1] == 429


def test_a_path_may_be_given_alone(start_depot: StartDepot) -> None:
    depot = start_depot(workers=0, root_path="/depot")
    base = f"http://127.0.0.1:{depot.port}"
    (zone,) = httpx2.get(f"{base}/zone").json()["zones"]
    assert zone["api-endpoint"] == f"{base}/depot/v2"
    header = {"Authorization": sign("GET", "/depot/v2/ai/model")}
    # Whether the proxy takes the path away or leaves it.
    for path in ("/depot/v2/ai/model", "/v2/ai/model"):
        assert httpx2.get(f"{base}{path}", headers=header).status_code == 200
    assert "url: '/depot/openapi.json'" in httpx2.get(f"{base}/docs").text
    with httpx2.Client(base_url=base) as browser:
        answer = browser.post("/depot/console/sign-in", data={"key": f"{KEY}:{SECRET}"})
        assert answer.headers["location"] == "/depot/console"
        assert "Path=/depot;" in answer.headers["set-cookie"]
        for path in PAGES:
            page = browser.get(f"/depot{path}")
            assert page.status_code == 200
            assert not re.search(r'(?:href|src|action|hx-get)="/(?!depot/)', page.text), path
    assert "eprecat" not in depot.logs()


def test_the_page_of_the_documentation_runs_its_own_scripts_only(start_depot: StartDepot) -> None:
    depot = start_depot(workers=0)
    page = httpx2.get(f"http://127.0.0.1:{depot.port}/docs")
    policy = page.headers["content-security-policy"]
    (scripts,) = re.findall(r"script-src ([^;]*)", policy)
    (inline,) = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    digest = base64.b64encode(sha256(inline.encode()).digest()).decode()
    assert scripts.split() == ["'self'", f"'sha256-{digest}'"]
    assert not re.search(r"\son\w+=|javascript:", page.text)
    loaded = re.findall(r"(?:src|href)=\"([^\"]+)\"", page.text)
    assert len(loaded) == 3
    for path in loaded:
        assert httpx2.get(f"http://127.0.0.1:{depot.port}{path}").status_code == 200


def test_tls_is_spoken_with_a_certificate(start_depot: StartDepot, tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    issued.private_key_pem.write_to_path(key)
    for part in issued.cert_chain_pems:
        part.write_to_path(certificate, append=True)
    depot = start_depot(workers=0, tls_certificate=certificate, tls_key=key)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    address = f"https://127.0.0.1:{depot.port}"
    with httpx2.Client(verify=trusting, headers=CREDENTIALS) as client:
        session = client.post(f"{address}/console/sign-in", data={"key": f"{KEY}:{SECRET}"})
        assert "Secure" in session.headers["set-cookie"]
        (zone,) = client.get(f"{address}/v2/zone").json()["zones"]
        assert zone["api-endpoint"] == f"{address}/v2"
        assert client.get(f"{address}/v2/ai/model").json() == {"models": []}
    with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx2.get(f"{address}/v2/zone")
    with pytest.raises(httpx2.TransportError):
        httpx2.get(f"http://127.0.0.1:{depot.port}/v2/zone")
    probe = run(depot, "-m", "app.probe")
    assert probe.returncode == 0, probe.stderr


def test_a_certificate_that_can_not_be_used_is_told_in_one_line(start_depot: StartDepot, tmp_path: Path) -> None:
    for content in (None, "no certificate"):
        path = tmp_path / "certificate.pem"
        if content:
            path.write_text(content)
        depot = start_depot(workers=0, api=False, tls_certificate=path, tls_key=path)
        refused = run(depot, "-m", "app.cli", "serve")
        assert refused.returncode == 1
        (line,) = [line for line in refused.stderr.splitlines() if "DEPOT_TLS_CERTIFICATE" in line]
        assert "Traceback" not in refused.stderr, line


def run(depot: Depot, *words: str) -> subprocess.CompletedProcess[str]:
    environment: dict[str, Any] = depot.environment | {"TMPDIR": str(depot.folder), "PATH": os.environ["PATH"]}
    return subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
