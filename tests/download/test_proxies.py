"""Every way to write NO_PROXY that a client in common use understands is understood."""

import pytest

from app.domain.errors import Failed
from worker.download.proxies import is_excepted, proxy_for

HUB = "https://hub.example.com/api"


@pytest.mark.parametrize(
    ("no_proxy", "host", "port"),
    [
        ("*", "hub.example.com", 443),
        ("hub.example.com", "hub.example.com", 443),
        ("example.com", "hub.example.com", 443),
        (".example.com", "hub.example.com", 443),
        ("*.example.com", "hub.example.com", 443),
        ("EXAMPLE.com.", "Hub.Example.Com.", 443),
        ("a.b, hub.example.com:443", "hub.example.com", 443),
        ("a.b hub.example.com", "hub.example.com", 443),
        ("127.0.0.1", "127.0.0.1", 80),
        ("127.0.0.1:80", "127.0.0.1", 80),
        ("127.0.0.0/8", "127.1.2.3", 80),
        ("10.0.0.5/8", "10.9.9.9", 80),
        ("::1", "::1", 80),
        ("[::1]", "::1", 80),
        ("[::1]:80", "::1", 80),
        ("0:0:0:0:0:0:0:1", "::1", 80),
        ("fd00::/8", "fd12::1", 80),
    ],
)
def test_an_address_is_excepted(no_proxy: str, host: str, port: int) -> None:
    assert is_excepted(no_proxy, host, port)


@pytest.mark.parametrize(
    ("no_proxy", "host", "port"),
    [
        ("", "hub.example.com", 443),
        (",, ,", "hub.example.com", 443),
        ("ample.com", "example.com", 443),
        ("hub.example.com", "example.com", 443),
        ("hub.example.com:80", "hub.example.com", 443),
        (".", "hub.example.com", 443),
        ("127.0.0.1:80", "127.0.0.1", 8080),
        ("10.0.0.0/8", "11.0.0.1", 80),
        ("10.0.0.0/99", "10.0.0.1", 80),
        ("[::1]:80", "::1", 8080),
        ("::1", "::2", 80),
        ("127.0.0.0/8", "127.0.0.1.example.com", 80),
        ("fd00::/8", "10.0.0.1", 80),
    ],
)
def test_an_address_is_not_excepted(no_proxy: str, host: str, port: int) -> None:
    assert not is_excepted(no_proxy, host, port)


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{kind}_proxy", raising=False)
        monkeypatch.delenv(f"{kind}_proxy".upper(), raising=False)


def test_each_kind_of_address_has_its_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert proxy_for(HUB) is None
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    assert proxy_for(HUB) == proxy_for("http://hub.example.com") == "socks5://127.0.0.1:1080"
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example.com:3128")
    assert proxy_for(HUB) == "http://proxy.example.com:3128"
    assert proxy_for("http://hub.example.com") == "socks5://127.0.0.1:1080"
    monkeypatch.setenv("https_proxy", "http://other.example.com:3128")
    assert proxy_for(HUB) == "http://other.example.com:3128"
    monkeypatch.setenv("NO_PROXY", "example.com")
    assert proxy_for(HUB) is None


def test_a_proxy_of_an_unknown_kind_is_refused_in_words_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks4://depot:planted@127.0.0.1:1080")
    with pytest.raises(Failed, match=r"socks4://, which is not supported. Set HTTPS_PROXY") as refused:
        proxy_for(HUB)
    assert "planted" not in str(refused.value)
    monkeypatch.setenv("NO_PROXY", "hub.example.com")
    assert proxy_for(HUB) is None
