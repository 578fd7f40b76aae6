"""What is printed for people: names of others may hold anything."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest

from app.client.exits import InTheWay
from app.terminal import amount, give, print_json, say, shown, size, table, when

NASTY = ["\x1b]0;title\x07", "\x9b31m", "a\nWRONG  forged", "\r", "\u202egnp.exe", "\udc80", "\x7f"]
"""A title, a colour by a C1 code, another line, an overwritten one, a name read backwards, a broken one, a deletion."""


@pytest.mark.parametrize("text", NASTY)
def test_what_steers_a_terminal_is_shown_as_it_is_written(capfd: pytest.CaptureFixture[str], text: str) -> None:
    say(f"model {text}")
    table([("NAME", "SIZE"), (text, 1)])
    InTheWay(f"{text} is in use by:", f"  {text}").show()
    printed = capfd.readouterr()
    lines = (printed.out + printed.err).splitlines()
    assert len(lines) == 5
    assert all(line.isprintable() for line in lines)
    assert lines[0] == "model " + text.encode("unicode_escape").decode()


def test_what_is_harmless_is_left_alone() -> None:
    for text in ("Größe 大 é", "C:\\path", "🙂"):
        assert shown(text) == text


def test_columns_are_as_wide_as_what_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    table([("NAME", "SIZE"), ("a\nb", 1), ("long name", 2)])
    assert capfd.readouterr().out == "NAME       SIZE\na\\nb       1\nlong name  2\n"


def test_json_is_as_it_is_and_safe_to_look_at(capfd: pytest.CaptureFixture[str]) -> None:
    value = {"names": [*NASTY, "\U000e0001", "Größe 大"]}
    print_json(value)
    printed = capfd.readouterr().out
    assert json.loads(printed) == value
    assert all(line.isprintable() for line in printed.splitlines())
    assert "Größe 大" in printed


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_an_output_that_takes_nothing_is_an_error_and_one_that_has_had_enough_is_none() -> None:
    command = [sys.executable, "-c", "from app.cli.main import main; main()", "help", "exit-codes"]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (
        1,
        "Error: can't write what there is to print: No space left on device\n",
    )
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert ended.stderr == ""


def test_a_script_is_given_a_path_as_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    give("/models/a\u00a0b")
    assert capfd.readouterr().out == "/models/a\u00a0b\n"


def test_an_error_of_several_lines_keeps_its_own_and_no_others() -> None:
    error: click.ClickException = InTheWay("is in use by:", "  a\nb", "Remove them")
    assert error.message == "is in use by:\n  a\\nb\nRemove them"


def test_a_log_for_people_has_plain_words_and_nothing_that_steers_a_terminal() -> None:
    program = """
import logging, uuid
from http import HTTPStatus
import structlog
from app import telemetry
telemetry.configure("text")
log = structlog.get_logger()
log.info("answered", status=HTTPStatus.OK, model_id=uuid.UUID(int=1), name="a\\x1b]0;t\\x07", other="\\x9b31m b")
logging.getLogger("library").warning("from elsewhere: %s", "\\x1b[31m")
try:
    raise ValueError("of a name: \\x1b[31m")
except ValueError:
    log.exception("a bug")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert all(line.isprintable() for line in done.stderr.splitlines()), done.stderr
    first = done.stderr.splitlines()[0]
    assert "status=200" in first
    assert "model-id=00000000-0000-0000-0000-000000000001" in first
    assert "ValueError: of a name: \\x1b[31m" in done.stderr


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "-"),
        (0, "0B"),
        (999, "999B"),
        (1000, "1.00kB"),
        (9_994_000, "9.99MB"),
        (9_996_000, "10.0MB"),
        (99_960_000, "100MB"),
        (999_600_000, "1.00GB"),
        (2_150_000_000, "2.15GB"),
        (5 * 10**18, "5000PB"),
    ],
)
def test_bytes_are_written_with_three_digits(number: int | None, text: str) -> None:
    assert size(number) == text


def _on_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(150, "2m ago"), (9000, "2h ago"), (4e5, "4d ago"), (1e8, "3y ago"), (-90_000, "in 1d")],
)
def test_a_terminal_shows_how_far_a_time_is_away(monkeypatch: pytest.MonkeyPatch, seconds: float, text: str) -> None:
    _on_terminal(monkeypatch, 80)
    moment = datetime.now(UTC) - timedelta(seconds=seconds)
    assert when(moment) == when(f"{moment:%Y-%m-%dT%H:%M:%SZ}") == text
    assert when(None) == when("") == "-"


def test_elsewhere_than_on_a_terminal_times_and_bytes_are_exact() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert when(moment) == when("2026-01-02T03:04:05Z") == "2026-01-02T03:04:05Z"
    assert (amount(2_150_000), amount(2_150_000, " bytes")) == ("2150000", "2150000 bytes")


def test_a_table_that_is_too_wide_loses_spare_columns_and_then_has_its_widest_cut(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _on_terminal(monkeypatch, 24)
    table([("NAME", "ID", "SIZE"), ("n" * 10, "i" * 6, "1")], spare=("ID",))
    table([("NAME", "ID", "SIZE"), ("n" * 10, "i" * 7, "1")], spare=("ID",))
    several = [("NAME", "ID", "STATE", "AGE"), ("n" * 20, "i", "s" * 9, "a")]
    table(several, spare=("ID", "STATE", "AGE"))
    table([("NAME", "WHAT"), ("n" * 30, "w" * 12)])
    table([("NAME", "WHAT"), ("n" * 30, "w" * 12)], wide=True)
    assert capfd.readouterr().out.splitlines() == [
        "NAME        ID      SIZE",
        "nnnnnnnnnn  iiiiii  1",
        "NAME        SIZE",
        "nnnnnnnnnn  1",
        "NAME                 AGE",
        f"{'n' * 18}…  a",
        "NAME         WHAT",
        "nnnnnnnnnn…  wwwwwwwwww…",
        f"NAME{' ' * 28}WHAT",
        f"{'n' * 30}  {'w' * 12}",
    ]
    assert amount(2_150_000, " bytes") == "2.15MB"


def test_columns_on_a_very_narrow_terminal_keep_some_characters(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _on_terminal(monkeypatch, 5)
    table([("NAME", "WHAT"), ("n" * 30, "w" * 12)])
    assert capfd.readouterr().out.splitlines()[1] == "nnnnnnn…  wwwwwww…"
