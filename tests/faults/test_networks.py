"""Networks as they are at work: proxies with and without a password, a certificate authority of one's own, no way out."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.fakehub.hub import Hub, Repo, Synthetic
from tests.faults.conftest import contents, published
from tests.faults.engine import Engine
from tests.faults.relays import Proxy, Relay, Socks
from worker.download.protocol import Failure

SCHEMES = ["http"]
"""TLS stands before the Hub here, where it matters."""
SECRET = "planted-password"


@pytest.fixture
def repo(hub: Hub) -> Repo:
    return hub.add("acme/model", {"model.safetensors": Synthetic(3 << 20, 1), "config.json": b"{}"})


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(hub: Hub, authority: trustme.CA) -> Iterator[Relay]:
    """The Hub behind TLS, with a certificate of an authority that nobody knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Relay(("127.0.0.1", int(hub.endpoint.rpartition(":")[2])), context) as relay:
        yield relay


def test_a_hub_with_a_certificate_of_ones_own_authority(
    repo: Repo, engine: Engine, authority: trustme.CA, secure: Relay, tmp_path: Path
) -> None:
    address = f"https://127.0.0.1:{secure.port}"
    outcome = engine.run(endpoint=address)
    assert (outcome.reason, outcome.last(Failure).again) == ("unavailable", True)
    assert "127.0.0.1" in outcome.text
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    engine.environment["SSL_CERT_FILE"] = str(tmp_path / "authority.pem")
    outcome = engine.run(endpoint=address)
    assert outcome.done, outcome.messages[-1]
    assert published(engine) == contents(repo)


def test_a_certificate_for_another_name_is_refused(
    hub: Hub, engine: Engine, authority: trustme.CA, tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("elsewhere.example").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    engine.environment["SSL_CERT_FILE"] = str(tmp_path / "authority.pem")
    with Relay(("127.0.0.1", int(hub.endpoint.rpartition(":")[2])), context) as relay:
        outcome = engine.run(endpoint=f"https://127.0.0.1:{relay.port}")
    assert outcome.reason == "unavailable"
    assert hub.requests == []


@pytest.mark.parametrize("apart", [False, True], ids=["one file", "two files"])
def test_a_hub_that_wants_a_certificate_of_its_clients(
    hub: Hub, repo: Repo, engine: Engine, authority: trustme.CA, tmp_path: Path, apart: bool
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    ours, certificate, key = authority.issue_cert("depot@example.com"), tmp_path / "ours.pem", tmp_path / "key.pem"
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    engine.environment["SSL_CERT_FILE"] = str(tmp_path / "authority.pem")
    with Relay(("127.0.0.1", int(hub.endpoint.rpartition(":")[2])), context) as relay:
        address = f"https://127.0.0.1:{relay.port}"
        assert engine.run(endpoint=address).reason == "unavailable"
        assert hub.requests == []
        if apart:
            ours.cert_chain_pems[0].write_to_path(str(certificate))
            ours.private_key_pem.write_to_path(str(key))
            engine.environment["DEPOT_HUB_CLIENT_KEY"] = str(key)
        else:
            ours.private_key_and_cert_chain_pem.write_to_path(str(certificate))
        engine.environment["DEPOT_HUB_CLIENT_CERTIFICATE"] = str(certificate)
        outcome = engine.run(endpoint=address)
    assert outcome.done, outcome.messages[-1]
    assert published(engine) == contents(repo)


@pytest.mark.parametrize("login", [None, f"depot:{SECRET}"])
def test_all_requests_go_through_the_proxy_of_their_kind(
    hub: Hub, repo: Repo, engine: Engine, authority: trustme.CA, secure: Relay, tmp_path: Path, login: str | None
) -> None:
    """The Hub is asked over TLS, through a tunnel; its CDN here is a plain address."""
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    with Proxy(login) as proxy:
        address = f"http://{login}@127.0.0.1:{proxy.port}" if login else f"http://127.0.0.1:{proxy.port}"
        engine.environment |= {
            "HTTPS_PROXY": address,
            "http_proxy": address,
            "SSL_CERT_FILE": str(tmp_path / "authority.pem"),
        }
        outcome = engine.run(endpoint=f"https://127.0.0.1:{secure.port}")
        assert outcome.done, outcome.messages[-1]
        assert published(engine) == contents(repo)
        assert f"127.0.0.1:{secure.port}" in proxy.asked
        on_cdn = [request for request in hub.requests if request.origin == "cdn"]
        assert len([url for url in proxy.asked if url.startswith(hub.cdn)]) == len(on_cdn) > 0
        assert proxy.refused == 0


def test_a_proxy_that_speaks_tls_itself_with_a_certificate_of_ones_own_authority(
    hub: Hub, repo: Repo, engine: Engine, authority: trustme.CA, secure: Relay, tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Proxy(tls=context) as proxy:
        engine.environment |= dict.fromkeys(("HTTPS_PROXY", "http_proxy"), f"https://127.0.0.1:{proxy.port}")
        address = f"https://127.0.0.1:{secure.port}"
        assert engine.run(endpoint=address).reason == "unavailable"
        authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
        engine.environment["SSL_CERT_FILE"] = str(tmp_path / "authority.pem")
        outcome = engine.run(endpoint=address)
        assert outcome.done, outcome.messages[-1]
        assert published(engine) == contents(repo)
        assert any(url.startswith(hub.cdn) for url in proxy.asked)


def test_addresses_that_are_excepted_do_not_go_through_the_proxy(hub: Hub, repo: Repo, engine: Engine) -> None:
    with Proxy() as proxy:
        engine.environment |= {"http_proxy": f"127.0.0.1:{proxy.port}", "NO_PROXY": "localhost"}
        assert engine.run().done
        assert published(engine) == contents(repo)
        assert proxy.asked
        assert all(url.startswith(hub.endpoint) for url in proxy.asked), "the CDN is at localhost"
        asked = len(proxy.asked)
        for excepted in ("localhost,127.0.0.1", "localhost,127.0.0.0/8"):
            engine.environment["NO_PROXY"] = excepted
            assert engine.run().done
            assert len(proxy.asked) == asked


@pytest.mark.parametrize("secure_hub", [False, True], ids=["plain", "tunnel"])
def test_a_proxy_that_refuses_is_unavailable_and_its_password_is_not_told(
    hub: Hub, repo: Repo, engine: Engine, secure: Relay, secure_hub: bool
) -> None:
    with Proxy(login="depot:right") as proxy:
        engine.environment |= dict.fromkeys(
            ("http_proxy", "HTTPS_PROXY"), f"http://depot:{SECRET}@127.0.0.1:{proxy.port}"
        )
        outcome = engine.run(endpoint=f"https://127.0.0.1:{secure.port}" if secure_hub else hub.endpoint)
        assert proxy.refused
    assert (outcome.reason, outcome.last(Failure).again) == ("unavailable", True)
    assert SECRET not in str(outcome.messages)
    assert hub.requests == []
    if not secure_hub:
        assert "HTTPS_PROXY" in outcome.text
    engine.environment.clear()
    assert engine.run().done
    assert published(engine) == contents(repo)


def test_a_proxy_that_is_not_there_is_unavailable(hub: Hub, engine: Engine) -> None:
    with Proxy() as proxy:
        gone = f"http://127.0.0.1:{proxy.port}"
    engine.environment["http_proxy"] = gone
    assert engine.run().reason == "unavailable"
    assert hub.requests == []


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "http://hub.invalid", "https://hub.invalid"])
def test_a_hub_that_is_not_found_or_does_not_listen_is_unavailable(repo: Repo, engine: Engine, address: str) -> None:
    outcome = engine.run(endpoint=address)
    assert (outcome.reason, outcome.last(Failure).again) == ("unavailable", True)
    assert address in outcome.text
    assert engine.run().done
    assert published(engine) == contents(repo)


def test_a_cdn_that_can_not_be_reached_is_unavailable_and_what_else_came_stays(
    hub: Hub, repo: Repo, engine: Engine
) -> None:
    with Proxy() as proxy:
        gone = f"http://127.0.0.1:{proxy.port}"
    engine.environment |= {"http_proxy": gone, "NO_PROXY": "127.0.0.1"}
    outcome = engine.run()
    assert outcome.reason == "unavailable"
    engine.environment.clear()
    hub.forget()
    assert engine.run().done
    assert published(engine) == contents(repo)
    assert hub.bytes_sent("config.json") == 0


@pytest.mark.parametrize("kind", ["socks5", "socks5h"])
@pytest.mark.parametrize("login", [None, f"depot:{SECRET}"])
def test_all_requests_go_through_a_socks_proxy(
    hub: Hub, repo: Repo, engine: Engine, kind: str, login: str | None
) -> None:
    with Socks(login) as proxy:
        engine.environment["ALL_PROXY"] = f"{kind}://{login + '@' if login else ''}127.0.0.1:{proxy.port}"
        outcome = engine.run()
        assert outcome.done, outcome.messages[-1]
        assert published(engine) == contents(repo)
        assert set(proxy.asked) == {hub.endpoint.partition("://")[2], hub.cdn.partition("://")[2]}


@pytest.mark.parametrize("except_", ["127.0.0.0/8,localhost", "*", "127.0.0.1 localhost"])
@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "socks5://127.0.0.1:9", "socks4://127.0.0.1:9"])
def test_what_no_proxy_names_is_asked_directly_for_its_files_too(
    repo: Repo, engine: Engine, proxy: str, except_: str
) -> None:
    engine.environment |= {"ALL_PROXY": proxy, "http_proxy": proxy, "NO_PROXY": except_}
    outcome = engine.run()
    assert outcome.done, outcome.messages[-1]
    assert published(engine) == contents(repo)
