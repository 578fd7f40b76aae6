"""What the documents name is there."""

import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
_DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/ARCHITECTURE.md", "docs/OPERATING.md")
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
