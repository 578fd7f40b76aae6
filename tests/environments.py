"""Programs of others in environments of their own, kept for the next run of the tests: what they depend on is not ours."""

import fcntl
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

_CACHE = Path(__file__).parents[1] / ".cache"
_INSTALL = Path(__file__).with_name("install")
_PATIENCE = 600.0


class NotInstalled(Exception):
    """Something can't be installed here. The message says why."""


def python_environment(name: str, *requirements: str) -> Path:
    """The `bin` of a virtual environment with these packages; skips the test where they can't be installed."""
    try:
        return installed(name, *requirements)
    except NotInstalled as error:
        pytest.skip(str(error))


def installed(name: str, *requirements: str) -> Path:
    """The `bin` of a virtual environment with these packages. Raises `NotInstalled`."""
    home = _CACHE / name

    def make() -> None:
        _run([sys.executable, "-m", "venv", "--without-pip", str(home)])
        _run([str(_INSTALL), str(home / "bin" / "python"), *requirements])

    _once(home, requirements, make)
    return home / "bin"


def node_environment(name: str, *packages: str) -> Path:
    """A folder with these packages of npm; skips the test where they can't be installed."""
    home = _CACHE / name
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("there is no Node here")

    def make() -> None:
        home.mkdir(parents=True)
        (home / "package.json").write_text("{}")
        _run(["npm", "install", "--silent", "--no-package-lock", "--prefix", str(home), *packages])

    try:
        _once(home, packages, make)
    except NotInstalled as error:
        pytest.skip(str(error))
    return home


def go_program(name: str, package: str, version: str) -> Path:
    """A program that Go builds of a module's package; skips the test where it can't be built."""
    home = _CACHE / f"{name}-{version}"
    if shutil.which("go") is None:
        pytest.skip(f"there is no Go here to build {name} with")
    try:
        _once(home, [package, version], lambda: _run(["env", f"GOBIN={home}", "go", "install", f"{package}@{version}"]))
    except NotInstalled as error:
        pytest.skip(str(error))
    return home / name


def go_main(name: str, module: str, version: str, package: str) -> Path:
    """As `go_program`, of a module that replaces another's modules: Go installs none of these, and builds them."""
    home = _CACHE / f"{name}-{version}"
    if shutil.which("go") is None:
        pytest.skip(f"there is no Go here to build {name} with")

    def make() -> None:
        home.mkdir()
        sources = Path(json.loads(_run(["go", "mod", "download", "-json", f"{module}@{version}"]))["Dir"])
        _run(["go", "build", "-C", str(sources), "-o", str(home / name), package])

    try:
        _once(home, [package, version], make)
    except NotInstalled as error:
        pytest.skip(str(error))
    return home / name


def _once(home: Path, wanted: Sequence[str], make: Callable[[], object]) -> None:
    """Make it unless it is there with all that is wanted. Tests run in several processes: one of them makes it."""
    _CACHE.mkdir(exist_ok=True)
    complete, said = home / "complete", "\n".join(wanted)
    with home.with_name(f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if complete.exists() and complete.read_text() == said:
            return
        shutil.rmtree(home, ignore_errors=True)
        make()
        complete.write_text(said)


def _run(words: Sequence[str]) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_PATIENCE)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(f"{words[-1]} can't be installed: {error}") from None
    if done.returncode:
        raise NotInstalled(f"{words[-1]} can't be installed: {done.stderr.strip()[-300:]}")
    return done.stdout
