"""Prints for people. Others name models, files and keys: a name must not control the terminal or forge a line."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click


def shown(text: object) -> str:
    r"""Return `text` on one line, with unprintable characters as Python escapes them: `\x1b`, `\n`, `\u202e`."""
    return _escaped(str(text))


def say(*lines: object, err: bool = False) -> None:
    """Print each of `lines`, on standard output or on standard error."""
    for line in lines:
        click.echo(shown(line), err=err)  # noqa: TID251  # here


def give(value: str) -> None:
    """Print a value for scripts: unchanged, or escaped if standard output is a terminal."""
    click.echo(shown(value) if sys.stdout.isatty() else value)  # noqa: TID251  # here


def table(lines: Iterable[Sequence[object]]) -> None:
    """Print `lines` in columns; the first line is the titles."""
    cells = [[shown(word) for word in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        say("  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip())


def print_json(value: Mapping[str, Any] | Sequence[Any]) -> None:
    r"""Print `value` as JSON; an unprintable character becomes `\uXXXX`, which is the same in JSON."""
    for line in json.dumps(value, indent=2, ensure_ascii=False).split("\n"):
        click.echo(_escaped(line, as_json=True))  # noqa: TID251  # here


class CommandError(click.ClickException):
    """Ends a command with exit code 1; prints `message`, then `lines`."""

    def __init__(self, message: str, *lines: str) -> None:
        super().__init__("\n".join(map(shown, (message, *lines))))


def _escaped(text: str, *, as_json: bool = False) -> str:
    if text.isprintable():
        return text
    written = _in_json if as_json else _in_python
    return "".join(one if one.isprintable() else written(one) for one in text)


def _in_json(character: str) -> str:
    return json.dumps(character)[1:-1]


def _in_python(character: str) -> str:
    return character.encode("unicode_escape").decode()
