"""What the documents name is there."""

import ast
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).parents[1]
_DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/ARCHITECTURE.md", "docs/OPERATING.md")
_LONGEST_WALK = 330
_PATH = re.compile(r"(?<![\w/.])(?:app|worker|tests|alembic|docs|deploy|\.ci)/[\w./-]*[\w/]")


@pytest.mark.parametrize("document", _DOCUMENTS)
def test_a_document_names_files_that_are_there(document: str) -> None:
    named = set(_PATH.findall((_ROOT / document).read_text()))
    assert [path for path in sorted(named) if not (_ROOT / path).exists()] == []


def test_each_room_is_in_the_architecture() -> None:
    text = (_ROOT / "docs/ARCHITECTURE.md").read_text()
    rooms = [
        folder for part in ("app", "worker") for folder in (_ROOT / part).iterdir() if (folder / "__init__.py").exists()
    ]
    assert rooms
    assert [room.name for room in rooms if f"`{room.relative_to(_ROOT).as_posix()}/`" not in text] == []


def test_each_module_has_a_test_of_its_name_or_a_line_that_says_where_it_is_tested() -> None:
    tests = _ROOT / "tests"
    named = {path.stem.removeprefix("test_") for path in tests.rglob("test_*.py")}
    lines = re.findall(r"(?m)^\| `((?:app|worker)/[\w/]+\.py)` \| (.+) \|$", (tests / "README.md").read_text())
    listed = {module: re.findall(r"`([\w/]+\.py)`", where) for module, where in lines}
    modules = {
        path.relative_to(_ROOT).as_posix()
        for part in ("app", "worker")
        for path in (_ROOT / part).rglob("*.py")
        if not path.stem.startswith("__") and path.stem not in named
    }
    assert sorted(modules ^ listed.keys()) == []
    assert [one for where in listed.values() for one in where if not (tests / one).exists()] == []


def test_the_walks_through_the_code_are_as_short_as_they_say() -> None:
    text = (_ROOT / "docs/ARCHITECTURE.md").read_text()
    walks = re.findall(r"(?ms)^### [^\n]+: (\d+) lines\n(.*?)(?=^##)", text)
    assert len(walks) == 2
    for said, walk in walks:
        steps = re.findall(r"(?m)^\| `([\w/]+\.py)` \| (`.+?`) \|", walk)
        counted = sum(_lines(file, re.findall(r"`([\w.]+)`", names)) for file, names in steps)
        assert counted == int(said) <= _LONGEST_WALK


def _lines(file: str, names: Sequence[str]) -> int:
    """The lines of these functions and methods of a file."""
    top = [node for node in ast.parse((_ROOT / file).read_text()).body if hasattr(node, "name")]
    inner = {
        f"{one.name}.{node.name}": node for one in top for node in getattr(one, "body", ()) if hasattr(node, "name")
    }
    found: dict[str, Any] = {node.name: node for node in top} | inner
    return sum(found[name].end_lineno - found[name].lineno + 1 for name in names)
