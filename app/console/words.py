"""Formats bytes, rates, durations and times, and has the words for what operations do."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from app.domain import sizes
from app.domain.commands import Command
from app.domain.pasted import quantization_of

_AGES = ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"))
_SHORT = 8
COMMANDS: Mapping[Command, str] = {
    Command.CREATE_MODEL: "Download",
    Command.DELETE_MODEL: "Delete model",
    Command.CREATE_DEPLOYMENT: "Add deployment",
    Command.DELETE_DEPLOYMENT: "Delete deployment",
    Command.UPDATE_DEPLOYMENT: "Change deployment",
    Command.SCALE_DEPLOYMENT: "Scale deployment",
    Command.DELETE_KEY: "Revoke key",
}
"""For people; beside it stands the API's word."""


def size(count: float | None) -> str:
    return "\N{EN DASH}" if count is None else sizes.size(count)


def count(number: int) -> str:
    """Format a large number: `494 M`."""
    value = float(number)
    for unit in ("", " k", " M", " G"):
        if value < 999.5 or unit == " G":
            break
        value /= 1000
    return f"{value:.1f}{unit}" if unit and value < 9.95 else f"{value:.0f}{unit}"


def duration(seconds: float) -> str:
    """Format roughly: `12 s`, `3 min`, `2 h 5 min`, `4 d`."""
    if seconds < 59.5:
        return f"{max(seconds, 0):.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{round(hours / 24)} d"


def ago(moment: datetime | None) -> str:
    """Format how long ago, or how far ahead, in one unit."""
    if moment is None:
        return "never"
    seconds = (datetime.now(UTC) - moment).total_seconds()
    for length, unit in _AGES:
        if abs(seconds) >= length:
            number = round(abs(seconds) / length)
            return f"{number} {unit} ago" if seconds > 0 else f"in {number} {unit}"
    return "just now" if seconds >= 0 else "in a moment"


def iso(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def full(moment: datetime) -> str:
    """Format to the second, for tooltips."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def command(word: Command) -> str:
    return COMMANDS.get(word, word)


def short(identity: Any) -> str:
    """Return the start of an id, distinct enough for people."""
    return str(identity)[:_SHORT]


FILTERS: Mapping[str, Callable[..., Any]] = {
    "size": size,
    "count": count,
    "duration": duration,
    "ago": ago,
    "iso": iso,
    "full": full,
    "short": short,
    "command": command,
    "quantization": quantization_of,
}
