"""What the image is made of and what the compose files say, without starting anything."""

import re
import subprocess
import tomllib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from app.settings import PREFIX, Settings
from tests.compose.fleet import ROOT, clean_environment, compose_command

_PINS = re.compile(r"^([a-z0-9._-]+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\\n|\n|$))+)", re.MULTILINE)
_SECRETS = ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "DEPOT_SECRET_KEY")
_OF_THE_API = {
    *("public_url", "zone", "bootstrap_key", "bootstrap_secret", "root_path", "trusted_proxies", "client_timeout"),
    *("drain", "files_accel", "files_redirect", "anonymous_pull", "pull_through", "pull_through_names", "hub_token"),
    "hub_search",
}
_IN_THE_IMAGE = {"host", "port", "storage"}
_CAPABILITIES = {"proxy": ["NET_BIND_SERVICE"], "objects": ["CHOWN", "DAC_OVERRIDE", "SETGID", "SETUID"]}
_OF_A_PROXY = {"tls_certificate", "tls_key"}
"""In containers it is the proxy of deploy/docker-compose.tls.yml that speaks TLS."""


def _pins(name: str) -> dict[str, str]:
    """Version by name. Everything that is not a comment must be a pin with its hashes."""
    text = "\n".join(line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")) + "\n"
    assert _PINS.sub("", text).strip() == ""
    return {found[1]: found[2] for found in _PINS.finditer(text)}


def test_the_image_installs_a_pinned_version_of_everything_that_the_project_asks_for() -> None:
    pins = _pins("requirements.txt")
    for line in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]:
        wanted = Requirement(line)
        name = canonicalize_name(wanted.name)
        assert name in pins, f"{name} is not in requirements.txt: make it again, its first lines say how"
        assert wanted.specifier.contains(pins[name]), f"{line} does not allow the {pins[name]} of requirements.txt"


def test_the_image_installs_what_these_need_in_turn_and_nothing_else() -> None:
    """As far as the versions that are installed here need the same."""
    pins = _pins("requirements.txt")
    needed = _needed(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])
    assert pins.keys() == needed, "make requirements.txt again, its first lines say how"


def _needed(lines: Sequence[str]) -> set[str]:
    """The names of all that is needed for these requirements, on the image's Python."""
    found: set[tuple[str, str]] = set()
    image = {"python_version": "3.13", "python_full_version": "3.13.0", "sys_platform": "linux", "os_name": "posix"}
    left = [(Requirement(line), "") for line in lines]
    while left:
        wanted, extra = left.pop()
        if wanted.marker and not wanted.marker.evaluate({**image, "extra": extra}):
            continue
        name = canonicalize_name(wanted.name)
        new = {(name, each) for each in ("", *wanted.extras)} - found
        found |= new
        left += [(Requirement(line), each) for _, each in new for line in _needed_by(name)]
    return {name for name, _ in found}


def _needed_by(name: str) -> Sequence[str]:
    try:
        return requires(name) or ()
    except PackageNotFoundError:  # what this Python does without
        return ()


def test_what_builds_the_image_is_pinned_too() -> None:
    pins = _pins("requirements-build.txt")
    for line in tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)])


def test_no_pin_names_a_place_to_fetch_from() -> None:
    for name in ("requirements.txt", "requirements-build.txt"):
        assert not re.search(r"://|^\s*-", re.sub(r"^    --hash=", "", (ROOT / name).read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("docker-compose.yml", _IN_THE_IMAGE | _OF_A_PROXY),
        ("deploy/docker-compose.worker.yml", _IN_THE_IMAGE | _OF_A_PROXY | _OF_THE_API),
    ],
)
def test_every_setting_reaches_the_containers(name: str, left_out: set[str]) -> None:
    passed = set(re.findall(rf"^ +{PREFIX}([A-Z0-9_]+): ", (ROOT / name).read_text(), re.MULTILINE))
    expected = {field.upper() for field in Settings.model_fields if field not in left_out}
    assert passed >= expected, f"add to {name}: {sorted(expected - passed)}"


def test_the_example_of_an_environment_holds_no_secret() -> None:
    given = [line for line in (ROOT / ".env.example").read_text().splitlines() if line and not line.startswith("#")]
    assert given == [f"{name}=" for name in _SECRETS]


@pytest.mark.parametrize(
    "name",
    [
        "deploy/docker-compose.tls.yml",
        "deploy/docker-compose.secrets.yml",
        "deploy/docker-compose.share.yml",
        "deploy/s3.yml",
    ],
)
def test_what_goes_beside_the_main_file_speaks_of_the_same_services(name: str) -> None:
    main, beside = _read("docker-compose.yml"), _read(name)
    new = {service: words for service, words in beside["services"].items() if service not in main["services"]}
    assert all("image" in words for words in new.values()), new
    networks = main["networks"].keys() | beside.get("networks", {}).keys()
    assert all(networks >= set(words.get("networks", ())) for words in beside["services"].values())


def test_the_proxy_reads_the_storage_that_the_api_has() -> None:
    overlay = _read("deploy/docker-compose.tls.yml")["services"]
    (storage,) = [
        volume for volume in _read("docker-compose.yml")["services"]["api"]["volumes"] if ":/models" in volume
    ]
    assert storage.endswith(":/models:ro")
    assert storage in overlay["proxy"]["volumes"]
    assert overlay["api"]["environment"]["DEPOT_FILES_ACCEL"] == "${DEPOT_FILES_ACCEL-/models}"


def test_no_container_keeps_a_capability_that_it_has_no_use_for() -> None:
    names = (
        "docker-compose.yml",
        *(f"deploy/{name}.yml" for name in ("docker-compose.worker", "docker-compose.tls", "s3")),
    )
    for name in names:
        services = _read(name)["services"]
        for service, words in services.items():
            if "image" in words:
                assert words["cap_drop"] == ["ALL"], (name, service)
                assert words.get("cap_add", []) == _CAPABILITIES.get(service.partition("-")[0], []), (name, service)


@pytest.mark.parametrize("name", ["docker-compose.yml", "deploy/docker-compose.worker.yml"])
def test_metrics_that_take_no_key_are_told_on_an_inside_network_only(name: str) -> None:
    content = _read(name)
    (subnet,) = content["networks"]["metrics"]["ipam"]["config"]
    assert content["networks"]["metrics"]["internal"]
    for service in {"api", "worker"} & content["services"].keys():
        words = content["services"][service]
        assert words["environment"]["DEPOT_METRICS_HOST"] == subnet["subnet"]
        assert "metrics" in words["networks"]
        assert not [port for port in words.get("ports", ()) if "METRICS" in port or "9090" in port]


@pytest.mark.skipif(compose_command() is None, reason="there is no compose command here")
def test_how_many_workers_and_apis_there_are_is_a_setting(tmp_path: Path) -> None:
    given = dict.fromkeys((*_SECRETS, "DEPOT_DOMAIN"), "made-up") | {"DEPOT_WORKERS": "4", "DEPOT_APIS": "2"}
    several = given | {"DEPOT_PUBLISH": "127.0.0.1:"}
    whole = _configuration(several, tmp_path, "deploy/docker-compose.tls.yml")
    assert whole.returncode == 0, whole.stderr
    services = yaml.safe_load(whole.stdout)["services"]
    assert (services["worker"]["scale"], services["api"]["scale"]) == (4, 2)
    assert not re.search(r"\b8080:8080|published: .?8080", str(services["api"]["ports"])), "two can't have one port"


_KEY = {"DEPOT_S3_ACCESS_KEY": "an-id", "DEPOT_S3_SECRET_KEY": "a-secret"}


@pytest.mark.skipif(compose_command() is None, reason="there is no compose command here")
def test_with_a_bucket_no_container_of_the_depot_has_a_volume_or_can_write(tmp_path: Path) -> None:
    whole = _configuration(dict.fromkeys(_SECRETS, "made-up") | _KEY, tmp_path, "deploy/s3.yml")
    assert whole.returncode == 0, whole.stderr
    services = yaml.safe_load(whole.stdout)["services"]
    for service in ("migrate", "api", "worker"):
        words = services[service]
        assert words["read_only"], service
        assert not [one for one in words.get("volumes", []) if one["type"] != "tmpfs" or not one["read_only"]], service
        assert words["environment"]["DEPOT_STORAGE"] == "s3://models"
        assert _KEY.items() <= words["environment"].items()
    for service in ("api", "worker"):
        assert {"objects-bucket", "migrate", "redis"} <= services[service]["depends_on"].keys()
        assert {"objects", "data", "outside", "metrics"} == set(services[service]["networks"])
    for service, words in services.items():
        assert "a-secret" not in str([words.get(part) for part in ("command", "entrypoint", "healthcheck")]), service
    assert "objects" not in services["postgres"]["networks"]


@pytest.mark.skipif(compose_command() is None, reason="there is no compose command here")
@pytest.mark.parametrize("missing", _KEY)
def test_without_the_key_of_the_bucket_nothing_starts(missing: str, tmp_path: Path) -> None:
    given = dict.fromkeys(_SECRETS, "made-up") | _KEY
    del given[missing]
    refused = _configuration(given, tmp_path, "deploy/s3.yml")
    assert (refused.returncode != 0, f"{missing} is missing, see the top of deploy/s3.yml" in refused.stderr) == (
        True,
        True,
    )


def test_secrets_in_files_are_in_no_environment_and_no_command() -> None:
    main, beside = _read("docker-compose.yml"), _read("deploy/docker-compose.secrets.yml")
    for service, words in main["services"].items():
        changed = beside["services"][service]
        environment = words.get("environment", {}) | changed["environment"]
        said = f"{environment} {changed.get('command', words.get('command'))} {changed.get('healthcheck')}"
        assert not [name for name in _SECRETS if f"${{{name}" in said or f"${name}" in said], service
        assert {value for name, value in environment.items() if name.endswith("_FILE")} <= {
            f"/run/secrets/{secret}" for secret in changed["secrets"]
        }
        assert set(changed["secrets"]) <= beside["secrets"].keys()
    assert beside["x-settings"].keys() <= {*main["x-settings"], *(f"{name}_FILE" for name in main["x-settings"])}


@pytest.mark.skipif(compose_command() is None, reason="there is no compose command here")
@pytest.mark.parametrize("missing", _SECRETS)
def test_without_a_secret_nothing_starts_and_one_line_says_which(missing: str, tmp_path: Path) -> None:
    given = dict.fromkeys(_SECRETS, "made-up")
    whole = _configuration(given, tmp_path)
    assert whole.returncode == 0, whole.stderr
    del given[missing]
    refused = _configuration(given, tmp_path)
    assert refused.returncode != 0
    (line,) = refused.stderr.strip().splitlines()
    assert f"{missing} is missing, copy .env.example to .env and fill it in" in line
    assert "made-up" not in line


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return content


def _configuration(given: dict[str, str], folder: Path, *beside: str) -> subprocess.CompletedProcess[str]:
    """What compose makes of the file; a .env beside it plays no part."""
    (folder / "empty").touch()
    files = [word for name in ("docker-compose.yml", *beside) for word in ("-f", str(ROOT / name))]
    words = ["--env-file", str(folder / "empty"), *files, "config"]
    return subprocess.run(
        [*(compose_command() or ()), *words],
        env=clean_environment() | given,
        capture_output=True,
        text=True,
        check=False,
    )
