"""Both clients trust what the system trusts, wherever their builders thought that it is."""

from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from app.settings import Settings, SettingsError, load
from tests.depot import SECRET_KEY
from worker import main
from worker.download import trust
from worker.download.trust import CERTIFICATE, KEY, Authorities


@pytest.fixture
def authority(tmp_path: Path) -> str:
    path = str(tmp_path / "authority.pem")
    trustme.CA().cert_pem.write_to_path(path)
    return path


def test_what_the_environment_names_is_trusted(authority: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", authority)
    found = Authorities.of_the_system()
    assert found.file == authority
    assert len(found.context.get_ca_certs()) == 1


def test_where_the_system_keeps_them_is_found_when_python_was_built_for_another(
    authority: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nowhere.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setattr(trust, "_PLACES", ("/nowhere/else.pem", authority))
    found = Authorities.of_the_system()
    assert (found.file, found.folder) == (authority, None)
    assert len(found.context.get_ca_certs()) == 1


@pytest.mark.parametrize("content", ["nothing", "no certificate", "no key", "a key with a password"])
def test_a_certificate_that_can_not_be_shown_is_told_at_the_start(content: str, tmp_path: Path) -> None:
    path, issued = tmp_path / "ours.pem", trustme.CA().issue_cert("depot@example.com")
    chain = issued.cert_chain_pems[0].bytes()
    if content == "no certificate":
        path.write_text(content)
    elif content == "no key":
        path.write_bytes(chain)
    elif content == "a key with a password":
        key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
        locked = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"planted"),
        )
        path.write_bytes(locked + chain)
    with pytest.raises(SettingsError, match=CERTIFICATE):
        main._check_certificate(Settings.model_construct(hub_client_certificate=str(path), hub_client_key=""))


def test_a_key_without_a_certificate_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "DATABASE_URL": "sqlite:////nowhere",
        "REDIS_URL": "redis://nowhere",
        "STORAGE": "/",
        "SECRET_KEY": SECRET_KEY,
    }
    for name, value in given.items():
        monkeypatch.setenv(f"DEPOT_{name}", value)
    monkeypatch.setenv(KEY, "/somewhere/key.pem")
    with pytest.raises(SettingsError, match=CERTIFICATE):
        load()
