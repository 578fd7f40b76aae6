"""Prints for people. Others name models, files and keys: a name must not control the terminal or forge a line."""

import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, NoReturn, TextIO

import click

READER_GONE = 141
"""The exit code as of a command that SIGPIPE ended. The signal itself would end servers whose client leaves, too."""
_GAP = "  "
_NARROWEST = 8
"""Characters to which a column is cut at most."""
_READABLE = 16
"""Characters to which a column is cut before a spare one is left out."""
_AGES = ((31_536_000, "y"), (86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def shown(text: object) -> str:
    r"""Return `text` on one line, with unprintable characters as Python escapes them: `\x1b`, `\n`, `\u202e`."""
    return _escaped(str(text))


def say(*lines: object, err: bool = False) -> None:
    """Print each of `lines`, on standard output or on standard error."""
    for line in lines:
        _write(shown(line), err=err)


def give(value: str) -> None:
    """Print a value for scripts: unchanged, or escaped if standard output is a terminal."""
    _write(shown(value) if sys.stdout.isatty() else value)


def can_ask() -> bool:
    """Return whether somebody can be asked, and sees what is printed."""
    return all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


def table(lines: Iterable[Sequence[object]], *, wide: bool = False, spare: tuple[str, ...] = ()) -> None:
    """Print `lines` in columns; the first line is the titles.

    On a terminal that is too narrow the widest columns are cut, and columns are left out whose titles are in `spare`,
    unless `wide`: the first, which is no use when it is cut, if anything must go; others, one by one, if without that the
    columns would be too narrow to be read.
    """
    cells = [[shown(word) for word in line] for line in lines]
    if wide or not sys.stdout.isatty():
        widths = _widths(cells)
    else:
        cells, widths = _fitted(cells, shutil.get_terminal_size().columns, spare)
    for line in cells:
        words = (_cut(word, width).ljust(width) for word, width in zip(line, widths, strict=True))
        say(_GAP.join(words).rstrip())


def size(number: int | None) -> str:
    """Format bytes, such as `91.6MB`, in powers of ten."""
    if number is None:
        return "-"
    value, unit = float(number), ""
    for larger in "kMGTP":
        # What rounds to 1000 belongs to the next unit.
        if value < (999.5 if unit else 1000):
            break
        value, unit = value / 1000, larger
    digits = 0 if not unit or value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f}{unit}B"


def many(number: int, thing: str) -> str:
    """Format a count, such as `1 file` and `2 files`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def amount(number: int, unit: str = "") -> str:
    """Format bytes: on a terminal as `size` does, elsewhere exactly, with `unit` behind it."""
    return size(number) if sys.stdout.isatty() else f"{number}{unit}"


def when(moment: datetime | str | None) -> str:
    """Format a time: on a terminal by its distance from now, such as `3d ago`, elsewhere in UTC as the API does."""
    if not moment:
        return "-"
    text = moment if isinstance(moment, str) else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
    if not sys.stdout.isatty():
        return text
    seconds = (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()
    for length, unit in _AGES:
        if abs(seconds) >= length:
            number = f"{abs(seconds) // length:.0f}{unit}"
            return f"{number} ago" if seconds > 0 else f"in {number}"
    return "now"


def did_you_mean(text: str, known: Iterable[str]) -> str:
    """Return a question that names the known word that is closest, in any case; empty if none is close."""
    words = {word.lower(): word for word in known}
    close = get_close_matches(text.lower(), words, n=1)
    return f"; did you mean {words[close[0]]!r}?" if close else ""


def print_json(value: Mapping[str, Any] | Sequence[Any]) -> None:
    r"""Print `value` as JSON; an unprintable character becomes `\uXXXX`, which is the same in JSON."""
    for line in json.dumps(value, indent=2, ensure_ascii=False).split("\n"):
        _write(_escaped(line, as_json=True))


class CommandError(click.ClickException):
    """Ends a command with exit code 1; prints `message`, then `lines`."""

    def __init__(self, message: str, *lines: str) -> None:
        super().__init__("\n".join(map(shown, (message, *lines))))


def _leave(stream: TextIO) -> NoReturn:
    """End the process without a word, since the reader of `stream` has had enough."""
    # What is left in the stream's buffer is written at the end, where it would fail again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(READER_GONE)


def _write(line: str, *, err: bool = False) -> None:
    try:
        click.echo(line, err=err)  # noqa: TID251  # here
    except BrokenPipeError:
        _leave(sys.stderr if err else sys.stdout)
    except OSError as error:
        raise CommandError(f"can't write what there is to print: {error.strerror}") from None


def _fitted(cells: list[list[str]], columns: int, spare: tuple[str, ...]) -> tuple[list[list[str]], list[int]]:
    """Return the cells without the spare columns for which there is no room, and the columns' widths, the widest cut."""
    widths = _widths(cells)
    for title in spare:
        least = widths if title == spare[0] else [min(width, _READABLE) for width in widths]
        if _total(least) <= columns:
            break
        at = cells[0].index(title)
        cells = [line[:at] + line[at + 1 :] for line in cells]
        del widths[at]
    while _total(widths) > columns and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1
    return cells, widths


def _widths(cells: list[list[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*cells, strict=True)]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _cut(word: str, width: int) -> str:
    return word if len(word) <= width else f"{word[: width - 1]}…"


def _escaped(text: str, *, as_json: bool = False) -> str:
    if text.isprintable():
        return text
    written = _in_json if as_json else _in_python
    return "".join(one if one.isprintable() else written(one) for one in text)


def _in_json(character: str) -> str:
    return json.dumps(character)[1:-1]


def _in_python(character: str) -> str:
    return character.encode("unicode_escape").decode()
