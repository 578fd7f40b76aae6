"""Reads the settings from the environment (`DEPOT_…`), and secrets also from files."""

import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from app.settings.fields import PREFIX, Settings
from app.terminal import say

_CHOICE = re.compile(r"\^\(([a-z|]+)\)\$")
"""A pattern of a setting that has some values only."""
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
_OF_OTHERS = frozenset({"SECRET"})
"""What is like a setting and is none: the client's variables. Those of the images are not alike."""
_ALIKE = 0.75
"""From 0 to 1: how like a setting's name a variable must be to be taken for a mistyped one."""


class SettingsError(Exception):
    """A setting is missing or wrong. The message is one line that names it."""


def load() -> Settings:
    """Return this process's settings. A secret may be in a file that `DEPOT_…_FILE` names. Raises `SettingsError`."""
    for former, name in _FORMER.items():
        if value := os.environ.pop(former, ""):
            os.environ.setdefault(name, value)  # for the processes that this one starts, too
            say(f"{former} is called {name} now. Rename it: the old name is accepted in this release only.", err=True)
    _warn_of_mistyped()
    from_files: dict[str, Any] = {name: _read(name) for name in _SECRETS if _file_of(name)}
    try:
        return Settings(**from_files)
    except ValidationError as error:
        raise SettingsError(_first_line(error)) from None


def _warn_of_mistyped() -> None:
    """Tell of variables that are no settings and nearly are. Remove them, so that the processes started here don't."""
    known = {name.upper() for name in Settings.model_fields} | {f"{name.upper()}_FILE" for name in _SECRETS}
    for variable in [one for one in os.environ if one.startswith(PREFIX)]:
        name = variable.removeprefix(PREFIX)
        close = [] if name in known | _OF_OTHERS else get_close_matches(name, known, n=1, cutoff=_ALIKE)
        if close:
            say(f"{variable} is no setting, and has no effect: did you mean {PREFIX}{close[0]}?", err=True)
            del os.environ[variable]


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
    return f"{name} is wrong: {_explained(field, problem)}."


def _explained(field: str, problem: ErrorDetails) -> str:
    """Return what a value must be, in words of people who set it."""
    described = Settings.model_fields[field].description or "" if field in Settings.model_fields else ""
    match problem["type"]:
        case "int_parsing" | "int_from_float":
            return (
                f"it must be a whole number{' of bytes, such as 10000000000' if 'bytes' in described.lower() else ''}"
            )
        case "float_parsing":
            return "it must be a number"
        case "bool_parsing":
            return "it must be on or off"
        case "string_pattern_mismatch" if choice := _CHOICE.fullmatch(problem["ctx"]["pattern"]):
            return f"it must be one of {choice[1].replace('|', ', ')}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{message[:1].lower()}{message[1:]}"
