"""Reads the settings from the environment (`DEPOT_…`), and secrets also from files."""

import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.settings.fields import PREFIX, Settings
from app.terminal import say

_SECRETS = (
    "secret_key",
    "database_url",
    "redis_url",
    "bootstrap_key",
    "bootstrap_secret",
    "hub_token",
    "s3_access_key",
    "s3_secret_key",
    "webhook_url",
    "webhook_secret",
)
"""Settings that may be given in a file."""
_FORMER = {f"{PREFIX}LOOK_INTERVAL": f"{PREFIX}POLL_INTERVAL"}
"""Former names of settings: accepted for one release, with a warning."""


class SettingsError(Exception):
    """A setting is missing or wrong. The message is one line that names it."""


def load() -> Settings:
    """Return this process's settings. A secret may be in a file that `DEPOT_…_FILE` names. Raises `SettingsError`."""
    for former, name in _FORMER.items():
        if value := os.environ.pop(former, ""):
            os.environ.setdefault(name, value)  # for the processes that this one starts, too
            say(f"{former} is called {name} now. Rename it: the old name is accepted in this release only.", err=True)
    from_files: dict[str, Any] = {name: _read(name) for name in _SECRETS if _file_of(name)}
    try:
        return Settings(**from_files)
    except ValidationError as error:
        raise SettingsError(_first_line(error)) from None


def _file_of(name: str) -> str | None:
    return os.environ.get(f"{PREFIX}{name.upper()}_FILE") or None


def _read(name: str) -> str:
    path = _file_of(name) or ""
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{PREFIX}{name.upper()}_FILE: can't read {path}: {error}") from None


def _first_line(error: ValidationError) -> str:
    """Return the first error's message, without the value: it may be a secret."""
    problem = error.errors(include_url=False, include_input=False)[0]
    field = str(problem["loc"][0]) if problem["loc"] else ""
    name = field if field.isupper() else PREFIX + field.upper()
    if problem["type"] == "missing":
        described = Settings.model_fields[field].description or ""
        return f"{name} is not set. {described}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{name} is wrong: {message[:1].lower()}{message[1:]}."
