"""Both clients trust what the system trusts, wherever their builders thought that it is."""

from pathlib import Path

import pytest
import trustme

from worker import trust
from worker.trust import Authorities


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
