"""What this machine's depot leaves for its clients in its data folder: its address and an API key."""

import os
import shlex
import shutil
import sys
from pathlib import Path

from app.domain.keys import KEY_ID, SECRET

OTHERWISE = "http://127.0.0.1:8080"
"""The depot's default address."""


class NoKey(Exception):
    """No API key could be read from the file. The message says what to do."""


def default_data() -> Path:
    home = os.environ.get("XDG_DATA_HOME", "")
    return (Path(home) if Path(home).is_absolute() else Path.home() / ".local" / "share") / "modeldepot"


def own_command() -> str:
    """Return the command that runs `modeldepot` from any folder: its bare name only if `PATH` leads to it."""
    typed = Path(sys.argv[0])
    script = typed if typed.name == "modeldepot" else Path(sys.executable).with_name("modeldepot")
    found = shutil.which("modeldepot")
    if found and Path(found).resolve() == script.resolve():
        return "modeldepot"
    return shlex.quote(str(script.absolute()))


def address_file(data: Path) -> Path:
    return data / "api.address"


def own_address(data: Path) -> str | None:
    """Return the address of that folder's `up`, now or when it last ran."""
    try:
        return address_file(data).read_text().strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def key_file(data: Path) -> Path:
    """Return the path of the file that holds `<id>:<secret>`, as it is sent after `Bearer`."""
    return data / "api.key"


def read_key(path: Path) -> tuple[str, str]:
    """Return (id, secret). Raises `NoKey`."""
    try:
        key_id, _, secret = path.read_text().strip().partition(":")
    except (OSError, UnicodeDecodeError) as error:
        raise NoKey(f"can't read {path}: {error}") from None
    if not KEY_ID.fullmatch(key_id) or not SECRET.fullmatch(secret):
        raise NoKey(f"{path} holds no API key: remove it, and the next `modeldepot up` makes a new one")
    return key_id, secret


def direct_address(host: str, port: int) -> str:
    """Return the URL by which this machine reaches an API that listens there, without any proxy."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
