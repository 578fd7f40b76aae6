"""The README says what is so. `python -m tests.test_readme` prints its table of settings."""

import re
from pathlib import Path

from app.settings import PREFIX, Settings

README = Path(__file__).parents[1] / "README.md"


def rows() -> list[str]:
    """The lines of the table of settings."""
    lines = ["| variable | default | what |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = "required" if field.is_required() else f"`{field.default}`" if str(field.default) else ""
        lines.append(f"| `{PREFIX}{name.upper()}` | {default} | {field.description} |")
    return lines


def test_the_readme_lists_every_setting_as_it_is() -> None:
    missing = [row for row in rows() if row not in README.read_text().splitlines()]
    assert not missing, "\n".join(["README.md lacks:", *missing])


def test_every_file_that_the_readme_names_is_there() -> None:
    named = re.findall(r"`((?:app|worker|tests|alembic|\.ci)/[\w./-]*)`", README.read_text())
    assert named
    assert [name for name in named if not (README.parent / name).exists()] == []


if __name__ == "__main__":
    print("\n".join(rows()))
