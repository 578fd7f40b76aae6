"""Settings from a command's flags and the environment, and the errors for wrong ones."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import click

from app.client.commands.options import names_data
from app.client.endpoint import elsewhere
from app.local import own_address
from app.settings import PREFIX, Settings, SettingsError, load
from app.standalone.folder import DataFolder
from app.terminal import CommandError, say

_Function = TypeVar("_Function", bound=Callable[..., None])

_METAVARS = MappingProxyType(
    {str(int): "NUMBER", str(float): "SECONDS", str(Path): "FOLDER", str(bool): "on|off", "stall_rate": "BYTES"}
)
"""What options are shown to take, by the name or the type of the setting; any other takes text."""
_ON_OR_OFF = ": on or off"


class CannotGoOn(CommandError):
    """Ends the command with one line and exit code 1: a fault of this machine, or of a service that it needs."""


class WrongSetting(CommandError):
    """Ends the command with exit code 2 and one line that names the setting."""

    exit_code = 2


def variable_of(name: str) -> str:
    return PREFIX + name.upper()


def flag_of(name: str) -> str:
    return "--" + name.lower().replace("_", "-")


def flags(*names: str, defaults: Mapping[str, str] = MappingProxyType({})) -> Callable[[_Function], _Function]:
    """Add an option per setting. It takes any text: `Settings` validates it, from any source."""

    def add(function: _Function) -> _Function:
        for name in reversed(names):
            field = Settings.model_fields[name]
            default = defaults.get(name) or (None if field.is_required() else field.default)
            known = variable_of(name) + (f"; default: {'on' if default is True else default}" if default else "")
            metavar = _METAVARS.get(name) or _METAVARS.get(str(field.annotation), "TEXT")
            kind: dict[str, Any] = (
                {"is_flag": True, "flag_value": "true"} if field.default is False else {"metavar": metavar}
            )
            text = f"{(field.description or '').replace(_ON_OR_OFF, '')}  [{known}]"
            function = click.option(flag_of(name), type=str, default=None, help=text, **kind)(function)
        return function

    return add


def embedded(folder: DataFolder) -> dict[str, str]:
    """Return the settings of a depot that keeps all in one folder."""
    return {
        "DATABASE_URL": folder.database_url,
        "REDIS_URL": folder.redis.url,
        "STORAGE": str(folder.storage),
        "SECRET_KEY_FILE": str(folder.key),
    }


def settings_of(given: Mapping[str, str | None], otherwise: Mapping[str, str] = MappingProxyType({})) -> Settings:
    """Load the flags, or else the environment, or else `otherwise`; set the environment for subprocesses."""
    words = {variable_of(name): value for name, value in given.items() if value is not None}
    for variable, value in words.items():
        os.environ[variable] = value
        os.environ.pop(f"{variable}_FILE", None)
    for name, value in otherwise.items():
        variable = PREFIX + name.removesuffix("_FILE")
        if not os.environ.get(variable) and not os.environ.get(f"{variable}_FILE"):
            os.environ[PREFIX + name] = value
    try:
        return load()
    except SettingsError as error:
        variable = str(error).split(maxsplit=1)[0]
        by_flag = f"{flag_of(variable.removeprefix(PREFIX))}: " if variable in words else ""
        raise WrongSetting(f"{by_flag}{error}") from None


def settings_in(data: Path) -> Settings:
    """Load the environment or, if it names no database, the settings of the depot in `data`.

    These commands reach no depot over HTTP, so whoever uses one elsewhere is told that this is not it.
    """
    folder = DataFolder(data.expanduser().absolute())
    if os.environ.get(f"{PREFIX}DATABASE_URL") or os.environ.get(f"{PREFIX}DATABASE_URL_FILE"):
        return settings_of({})
    context = click.get_current_context(silent=True)  # completion has none
    other = None if context is None or names_data(context) else elsewhere(folder.path)
    if not folder.key.exists():
        where = f". This command acts on this machine's depot, not on {other}: run it where that runs" if other else ""
        raise WrongSetting(
            f"{folder.path} holds no depot: name another with --data, or set {PREFIX}DATABASE_URL{where}"
        )
    if other:
        say(f"this acts on this machine's depot, in {folder.path}, and not on {other}", err=True)
    return settings_of({}, embedded(folder))


def address_in(settings: Settings, data: Path) -> str:
    """Return the address of the depot of `settings_in(data)`: `up` may use another port than this command."""
    folder = DataFolder(data.expanduser().absolute())
    if settings.public_url or settings.database_url != folder.database_url:
        return settings.address
    return own_address(folder.path) or settings.address
