"""Logs: one line per event, as JSON or for a terminal, with secrets redacted."""

import json
import logging
import os
import re
import sys
import traceback
from contextlib import suppress
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, TextIO, cast
from uuid import UUID

import structlog

from app.terminal import shown

_SECRETS = (
    (re.compile(r"\bhf_[A-Za-z0-9]{8,}"), "hf_***"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=:-]+"), r"\1 ***"),
    # A URL's query string is its signature: anyone who reads it can fetch the file.
    (re.compile(r"(https?://[^\s?'\"]+)\?[^\s'\"]+"), r"\1?***"),
    (re.compile(r"(?i)(\w+://[^\s:/@]*):[^\s@/]+@"), r"\1:***@"),
)


_MARKS = ("hf_", "bearer", "basic", "://")
"""Every match contains one of these: a line without any skips the patterns."""
_JSON = json.JSONEncoder(default=str)


def redact(text: str) -> str:
    """Return `text` without anything that looks like a token, a signed URL or a password in an address."""
    lowered = text.lower()
    if not any(mark in lowered for mark in _MARKS):
        return text
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def is_json(log_format: str) -> bool:
    """Return whether a process with this setting logs JSON, not text for people."""
    return log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())


def configure(log_format: str = "auto") -> None:
    """Set up structlog and the standard library's logging for this process; both write to standard error."""
    as_json = is_json(log_format)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    shared.append(structlog.processors.format_exc_info if as_json else _for_people)
    renderer: structlog.typing.Processor = _as_json if as_json else _text_renderer()
    last: list[structlog.typing.Processor] = [_kebab_case, renderer, _redact_line]
    structlog.configure(
        processors=[*shared, *last],
        # Straight to the stream: through the standard library a line takes three times as long.
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", _Patient(sys.stderr))),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    for name in ("arq", "httpx2", "httpcore2", "uvicorn.access", "alembic", "aiosqlite"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _text_renderer() -> structlog.typing.Processor:
    colours = sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=_traceback, pad_event_to=0)


def _for_people(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Return the event with readable values and no terminal control characters."""
    return {key: value if key == "exc_info" else _word(value) for key, value in event.items()}


def _word(value: object) -> object:
    if isinstance(value, Enum):
        value = value.value
    return shown(value) if isinstance(value, str | UUID | Path) else value


def _traceback(output: TextIO, raised: Any) -> None:
    lines = "".join(traceback.format_exception(*raised)).rstrip().split("\n")
    output.write("\n" + "\n".join(map(shown, lines)))


class _Patient:
    """A stream that ignores write errors (reader gone, disk full): a lost line stops no work."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def _kebab_case(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {_kebab(key): value for key, value in event.items()}


@cache
def _kebab(key: str) -> str:
    return key if key.startswith("_") or key == "exc_info" else key.replace("_", "-")


def _as_json(_logger: object, _method: str, event: structlog.typing.EventDict) -> str:
    return _JSON.encode(event)


def _redact_line(_logger: object, _method: str, line: Any) -> str:
    return redact(str(line))
