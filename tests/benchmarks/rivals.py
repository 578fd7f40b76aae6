"""The programs that downloads are compared with. Each gets an empty folder; but for one, none checks what it wrote."""

import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.benchmarks.costs import Cost, of_command, of_download
from tests.benchmarks.nginx import Site
from tests.faults.engine import CLEAN, Endpoint

Run = Callable[[Site, str, Path], Cost]
"""Downloads a repository, by its name, into a folder."""


def curl(site: Site, name: str, target: Path) -> Cost:
    """One process; several files in parallel."""
    return of_command(_curl(site, name, target), trusting(site))


def curl_sha256(site: Site, name: str, target: Path) -> Cost:
    """The same, and then every file is read and hashed, by the processor's own instructions as the depot does it."""
    command = shlex.join(_curl(site, name, target))
    return of_command(["sh", "-ec", f"{command}; openssl dgst -sha256 {shlex.quote(str(target))}/*"], trusting(site))


def aria2(site: Site, name: str, target: Path) -> Cost:
    """Eight connections a file, eight files at once."""
    (target / "list").write_text("\n".join(site.addresses(name)))
    words = [
        "aria2c",
        "-q",
        "-x8",
        "-s8",
        "-j8",
        "--file-allocation=none",
        "-d",
        str(target),
        "-i",
        str(target / "list"),
    ]
    return of_command([*words, *([f"--ca-certificate={site.trust}"] if site.trust else [])], CLEAN)


def hf(site: Endpoint, name: str, target: Path) -> Cost:
    program = Path(sys.executable).with_name("hf")
    environment = trusting(site) | {
        "HF_ENDPOINT": site.endpoint,
        "HF_HOME": str(target / "home"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    }
    return of_command([str(program), "download", name, "--cache-dir", str(target / "cache"), "--quiet"], environment)


def depot(site: Site, name: str, target: Path) -> Cost:
    return of_download(site, name, target)


RIVALS: dict[str, Run] = {"curl": curl, "curl+sha256": curl_sha256, "aria2 -x8": aria2, "hf": hf, "depot": depot}


def here(rivals: Sequence[str]) -> dict[str, Run]:
    """Those of them that are on this machine."""
    if shutil.which("aria2c") is None:
        rivals = [name for name in rivals if not name.startswith("aria2")]
    return {name: RIVALS[name] for name in rivals}


def _curl(site: Site, name: str, target: Path) -> list[str]:
    addresses = site.addresses(name)
    lines = [f'url = "{address}"\noutput = "{target / address.rsplit("/", 1)[1]}"' for address in addresses]
    (target / "list").write_text("\n".join(lines))
    command = ["curl", "-sSf", *(["--cacert", site.trust] if site.trust else []), "-K", str(target / "list")]
    return command + (["-Z", "--no-progress-meter"] if len(addresses) > 1 else [])


def trusting(site: Endpoint) -> dict[str, str]:
    return CLEAN | ({"SSL_CERT_FILE": site.trust} if site.trust else {})
