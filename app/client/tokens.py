"""The Hub token that a pull sends: from a file, standard input or the environment; never an argument."""

import os
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from app.client.exits import Wrong

VARIABLE = "HF_TOKEN"


@dataclass(frozen=True, slots=True)
class Token:
    value: str = field(repr=False)
    source: str
    """Where it was found, for messages."""


def find_token(file: Path | None, *, stdin: bool) -> Token | None:
    """Return the token to send, if any. Raises `Wrong`."""
    if file is not None and stdin:
        raise Wrong("give either --token-file or --token-stdin")
    if file is not None:
        try:
            return _token(file.read_text(), str(file))
        except OSError as error:
            raise Wrong(f"--token-file: can't read {file}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise Wrong(f"--token-file: {file} is no text, and so no token") from None
    if stdin:
        return _token(sys.stdin.readline(), "standard input")
    value = os.environ.get(VARIABLE, "").strip()
    return _token(value, VARIABLE) if value else None


def login() -> Path:
    """Return where `hf auth login` keeps its token. It is sent only if the user names it: a depot is not the Hub."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = os.environ.get("HF_HOME") or cache / "huggingface"
    return Path(os.environ.get("HF_TOKEN_PATH") or Path(home) / "token").expanduser()


def is_overheard(url: str) -> bool:
    """Return whether others can read what is sent to `url`."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    with suppress(ValueError):
        return parts.scheme == "http" and not ip_address(host).is_loopback
    return parts.scheme == "http" and host != "localhost"


def _token(text: str, source: str) -> Token:
    value = text.strip()
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise Wrong(f"{source} holds no Hub token: one word is expected, such as hf_…")
    return Token(value, source)
