"""Settings: a wrong one stops the start with one line that names it and never shows a secret."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import Settings, SettingsError, load
from tests.depot import SECRET_KEY

_KEY = SECRET_KEY
_RIGHT = {
    "DEPOT_DATABASE_URL": "sqlite:////tmp/depot.sqlite3",
    "DEPOT_REDIS_URL": "redis://127.0.0.1:6379/0",
    "DEPOT_STORAGE": "/models",
    "DEPOT_SECRET_KEY": _KEY,
}
WRONG = [
    ("DEPOT_DATABASE_URL", "mysql://root:hunter2@db/depot"),
    ("DEPOT_DATABASE_URL", "not a URL"),
    ("DEPOT_REDIS_URL", "http://:hunter2@redis"),
    ("DEPOT_STORAGE", "models"),
    ("DEPOT_STORAGE", "s3://"),
    ("DEPOT_STORAGE", "s3://bucket/a/../b"),
    ("DEPOT_S3_ENDPOINT", "s3.example"),
    ("DEPOT_S3_ADDRESSING", "host"),
    ("DEPOT_S3_SECRET_KEY", "hunter2"),
    ("DEPOT_BUFFER", "1000"),
    ("DEPOT_SECRET_KEY", "hunter2"),
    ("DEPOT_SECRET_KEY", f"{_KEY},hunter2"),
    ("DEPOT_HUB_ENDPOINT", "huggingface.co"),
    ("DEPOT_HUB_ENDPOINT", "http://"),
    ("DEPOT_S3_ENDPOINT", "https:///bucket"),
    ("DEPOT_PUBLIC_URL", "depot.example"),
    ("DEPOT_PUBLIC_URL", "http://:8080"),
    ("DEPOT_ZONE", "Not A Zone"),
    ("DEPOT_PORT", "http"),
    ("DEPOT_PORT", "0"),
    ("DEPOT_PORT", "65536"),
    ("DEPOT_ROOT_PATH", "depot"),
    ("DEPOT_ROOT_PATH", "/depot/"),
    ("DEPOT_TRUSTED_PROXIES", "*"),
    ("DEPOT_TRUSTED_PROXIES", "10.0.0.1, proxy"),
    ("DEPOT_TRUSTED_PROXIES", "10.0.0.1/8"),
    ("DEPOT_CLIENT_TIMEOUT", "0.5"),
    ("DEPOT_DRAIN", "-1"),
    ("DEPOT_FILES_ACCEL", "depot-files"),
    ("DEPOT_FILES_ACCEL", "/depot files/"),
    ("DEPOT_TLS_KEY", "/tmp/key.pem"),
    ("DEPOT_SLOTS", "0"),
    ("DEPOT_SLOTS", "many"),
    ("DEPOT_LEASE", "1"),
    ("DEPOT_LEASE", "nan"),
    ("DEPOT_POLL_INTERVAL", "0"),
    ("DEPOT_POLL_INTERVAL", "inf"),
    ("DEPOT_OPERATION_DEADLINE", "-1"),
    ("DEPOT_OPERATION_DEADLINE", "inf"),
    ("DEPOT_ATTEMPTS", "0"),
    ("DEPOT_BACKOFF", "nan"),
    ("DEPOT_RESERVE", "-1"),
    ("DEPOT_STALL_RATE", "nan"),
    ("DEPOT_LOG_FORMAT", "xml"),
    ("DEPOT_WEBHOOK_URL", "hooks.example/hunter2"),
    ("DEPOT_WEBHOOK_URL", "https:///hunter2"),
    ("DEPOT_WEBHOOK_SECRET", "hunter2"),
    ("DEPOT_WEBHOOK_SECRET", "whsec_aHVudGVyMg=="),
    ("DEPOT_WEBHOOK_SECRET", f"whsec_{_KEY}"),
]


@pytest.fixture(autouse=True)
def _only_these(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("DEPOT_", "HF_"))]:
        monkeypatch.delenv(name)
    for name, value in _RIGHT.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_is_told_in_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load()
    message = str(refused.value)
    assert message.startswith(f"{name} ")
    assert "\n" not in message
    assert "hunter2" not in message


@pytest.mark.parametrize("name", sorted(_RIGHT))
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_one_is_told_with_what_it_is_for(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str | None
) -> None:
    monkeypatch.delenv(name)
    if value is not None:
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name} is not set"):
        load()


def test_a_secret_may_stand_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{_KEY}\n")
    monkeypatch.delenv("DEPOT_SECRET_KEY")
    monkeypatch.setenv("DEPOT_SECRET_KEY_FILE", str(file))
    assert load().secret_key.get_secret_value() == _KEY


def test_a_former_name_is_accepted_with_a_warning_that_names_the_new_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEPOT_POLL_INTERVAL", "5")
    monkeypatch.delenv("DEPOT_POLL_INTERVAL")  # and again after the test: what is loaded sets it
    monkeypatch.setenv("DEPOT_LOOK_INTERVAL", "7")
    assert load().poll_interval == 7
    assert "DEPOT_LOOK_INTERVAL is called DEPOT_POLL_INTERVAL now" in capsys.readouterr().err
    assert load().poll_interval == 7
    assert capsys.readouterr().err == "", "it is told once, and not by each process that this one starts"
    monkeypatch.setenv("DEPOT_LOOK_INTERVAL", "9")
    assert load().poll_interval == 7, "the new name goes before the old one"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("DEPOT_RESERVE", "10GB", "it must be a whole number of bytes, such as 10000000000"),
        ("DEPOT_SLOTS", "many", "it must be a whole number"),
        ("DEPOT_LEASE", "long", "it must be a number"),
        ("DEPOT_VERBOSE", "perhaps", "it must be on or off"),
        ("DEPOT_XET", "maybe", "it must be one of auto, on, off"),
    ],
)
def test_what_a_value_must_be_is_said_in_plain_words(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name} is wrong: {told}\\.$"):
        load()


def test_a_mistyped_name_is_told_once_and_what_belongs_to_others_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("SECRET", "KEY", "URL", "DATA", "APIS", "IMAGE", "LIFELINE", "STORAGE_PATH", "WORKERS"):
        monkeypatch.setenv(f"DEPOT_{name}", "x")
    load()
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("DEPOT_UPDATE_CHEK", "5")
    load()
    load()
    told = "DEPOT_UPDATE_CHEK is no setting, and has no effect: did you mean DEPOT_UPDATE_CHECK?\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("DEPOT_SECRET_KEY_FILE", str(file))
    with pytest.raises(SettingsError, match=f"^DEPOT_SECRET_KEY_FILE: can't read {file}"):
        load()


def test_the_hub_of_other_tools_is_honoured_unless_ours_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().hub_endpoint == "https://huggingface.co"
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.example/")
    assert load().hub_endpoint == "http://hub.example"
    monkeypatch.setenv("DEPOT_HUB_ENDPOINT", "http://other.example")
    assert load().hub_endpoint == "http://other.example"


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({}, "http://127.0.0.1:8080"),
        ({"DEPOT_PORT": "9000"}, "http://127.0.0.1:9000"),
        ({"DEPOT_HOST": "::1"}, "http://[::1]:8080"),
        ({"DEPOT_PUBLIC_URL": "https://depot.example/"}, "https://depot.example"),
        ({"DEPOT_ROOT_PATH": "/depot"}, "http://127.0.0.1:8080/depot"),
        ({"DEPOT_TLS_CERTIFICATE": "/tls/cert", "DEPOT_TLS_KEY": "/tls/key"}, "https://127.0.0.1:8080"),
    ],
)
def test_clients_are_told_an_address_they_can_use(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], address: str
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert load().address == address


def test_no_secret_is_shown_with_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2\n")
    monkeypatch.setenv("DEPOT_S3_ACCESS_KEY", "reader")
    monkeypatch.setenv("DEPOT_S3_SECRET_KEY_FILE", str(tmp_path / "secret"))
    settings = load()
    assert settings.s3.secret_key == "hunter2"
    assert _KEY not in repr(settings)
    assert "hunter2" not in f"{settings!r} {settings.s3!r}"


@pytest.mark.parametrize(("name", "value"), [("DEPOT_FETCHER", "snapshot"), ("DEPOT_FILES_ACCEL", "/depot-files")])
def test_what_takes_a_folder_is_refused_with_a_bucket(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    load()
    monkeypatch.setenv("DEPOT_STORAGE", "s3://models/depot")
    with pytest.raises(SettingsError, match=f"^{name} is wrong: .*DEPOT_STORAGE"):
        load()


def test_a_redirect_takes_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPOT_FILES_REDIRECT", "on")
    with pytest.raises(SettingsError, match=r"^DEPOT_FILES_REDIRECT is wrong: .*DEPOT_STORAGE"):
        load()
    monkeypatch.setenv("DEPOT_STORAGE", "s3://models/depot")
    assert load().files_redirect


def test_every_setting_says_what_it_is_for() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("words", [("-m", "app.cli", "serve"), ("-m", "app.cli", "migrate"), ("-m", "worker.main")])
def test_every_program_stops_at_a_wrong_value_with_one_line(words: tuple[str, ...]) -> None:
    environment = {**os.environ, "DEPOT_SLOTS": "many"}
    done = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if "DEPOT_SLOTS" in line]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, line
