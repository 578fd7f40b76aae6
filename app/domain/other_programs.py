"""Reads the command lines of other programs, which people paste to have the model in them.

ollama run|pull NAME, vllm serve NAME, llama-server|llama-cli -hf NAME, git clone NAME
hf|huggingface-cli download NAME [FILE...] [--revision REVISION] [--include PATTERN...]

Options that choose nothing of the repository are left out. A line with others that do is refused.
"""

import re
import shlex
from argparse import ArgumentParser
from dataclasses import dataclass
from typing import NoReturn

from app.domain.errors import BadRequest

_LINE = re.compile(
    r"(?:\$\s+)?(?:(?P<gguf>ollama\s+(?:run|pull)(?=\s+(?:https?://)?(?:hf|huggingface)\.co/)|llama-(?:server|cli)\s+-hf)"
    r"|(?P<download>(?:hf|huggingface-cli)\s+download)|vllm\s+serve|git\s+clone)\s+(?P<rest>.+)"
)
"""Ollama's names are the Hub's after `hf.co/` only."""
_CHOOSE = frozenset({"--revision", "--branch", "-b", "--hf-file", "-hff", "--hf-repo", "-hfr", "-m", "--model"})
"""Options that choose a revision, a file or another model."""
_WITH_VALUE = ("--local-dir", "--cache-dir", "--token", "--max-workers", "--format")
_FLAGS = ("--quiet", "--force-download", "--no-force-download", "--no-quiet", "--resume-download")


@dataclass(frozen=True, slots=True)
class Line:
    """The model in a command line. `files` are paths, `include` are patterns.

    `is_of_gguf`: whether the program loads one GGUF model, the best default if the name has no tag.
    """

    name: str
    revision: str | None = None
    files: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    is_of_gguf: bool = False


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:  # noqa: ARG002
        raise unclear()


def is_line(text: str) -> bool:
    return _LINE.fullmatch(text.strip()) is not None


def read(text: str) -> Line | None:
    """Return the model in a command line; None if `text` is none. Raises `BadRequest` for one whose meaning isn't certain."""
    found = _LINE.fullmatch(text.strip())
    if found is None:
        return None
    if found["download"]:
        return _download(found["rest"])
    name, *rest = found["rest"].split()
    if name.startswith("-") or any(word.partition("=")[0] in _CHOOSE for word in rest):
        raise unclear()
    return Line(name.strip("'\""), is_of_gguf=found["gguf"] is not None)


def unclear() -> BadRequest:
    return BadRequest(
        "Which files this command line means is not certain: give only the model, as 'owner/name', 'owner/name@revision' "
        "or 'owner/name:Q4_K_M'.",
        field="name",
    )


def _download(rest: str) -> Line:
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("name")
    parser.add_argument("files", nargs="*")
    parser.add_argument("--revision")
    parser.add_argument("--include", nargs="*", default=[], action="extend")
    for option in _WITH_VALUE:
        parser.add_argument(option)
    for flag in _FLAGS:
        parser.add_argument(flag, action="store_true")
    try:
        given = parser.parse_intermixed_args(shlex.split(rest))
    except ValueError:
        raise unclear() from None
    return Line(given.name, given.revision, tuple(given.files), tuple(given.include))
