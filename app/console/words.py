"""Formats bytes, rates, durations and times, and has the words for what operations do."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from unicodedata import category

from markupsafe import Markup, escape

from app.domain import sizes
from app.domain.commands import Command
from app.domain.pasted import quantization_of

_AGES = ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"))
_SHORT = 8
_HYPHENED = re.compile(r"(\S*-\S*)")
_KEPT = frozenset("\t\n\r\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}")
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


def whole(number: int) -> str:
    """Format a number with all its digits: `32,768`."""
    return f"{number:,}"


def unbroken(text: str) -> Markup:
    """Return a command whose words are not broken at their hyphens: a flag would read as two."""
    pieces = _HYPHENED.split(visible(text))
    return Markup("").join(
        Markup('<span class="word">{}</span>').format(piece) if place % 2 else piece
        for place, piece in enumerate(pieces)
    )


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


def visible(value: Any) -> Any:
    r"""Return a template's value with what would change how a text beside it reads written out: `\u202e`.

    Line ends stay, and what joins letters in some scripts. What a template has made already is a `Markup`.
    """
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join(map(_visible, value))


def exact(text: str) -> Markup:
    """Return what is copied or sent back, and so must be as it is."""
    return escape(text)


def _visible(character: str) -> str:
    if character.isprintable() or character in _KEPT or category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode()


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
    "exact": exact,
    "whole": whole,
    "unbroken": unbroken,
}
