"""The README says what is so. `python -m tests.test_readme` prints its table of settings."""

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from app.cli.main import main
from app.settings import PREFIX, Settings

README = Path(__file__).parents[1] / "README.md"
_DOCUMENTS = (README, README.parent / "docs" / "OPERATING.md")


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


def test_every_setting_that_a_document_names_is_one() -> None:
    """Of Model Depot, of its clients, or of its compose files."""
    known = {f"{PREFIX}{name.upper()}{end}" for name in Settings.model_fields for end in ("", "_FILE")}
    known |= {f"{PREFIX}{name}" for name in ("URL", "KEY", "SECRET", "DATA")}
    for path in (README.parent / "docker-compose.yml", *(README.parent / "deploy").iterdir()):
        known |= set(re.findall(rf"\{{\$?({PREFIX}[A-Z0-9_]+)", path.read_text().replace("${", "{")))
    for path in _DOCUMENTS:
        assert set(re.findall(rf"\b{PREFIX}[A-Z0-9_]+\b", path.read_text())) <= known, path


@pytest.mark.parametrize("path", _DOCUMENTS, ids=lambda path: path.name)
def test_every_command_that_a_document_names_is_one(path: Path) -> None:
    named = set(re.findall(r"(?m)(?:`|^\$ |bin/|worker |api )modeldepot ([a-z]+)", path.read_text()))
    assert named
    assert named <= set(main.list_commands(click.Context(main)))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd on this machine")
def test_the_systemd_unit_is_one(tmp_path: Path) -> None:
    text = (README.parent / "docs" / "OPERATING.md").read_text()
    (unit,) = re.findall(r"<!-- unit -->\n```ini\n(.*?)```", text, re.DOTALL)
    path = tmp_path / "modeldepot.service"
    path.write_text(unit.replace("/opt/modeldepot/bin/modeldepot", shutil.which("true") or ""))
    words = ["systemd-analyze", "verify", "--man=no", str(path)]
    judged = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "modeldepot.service" not in judged.stdout + judged.stderr, judged.stderr


if __name__ == "__main__":
    print("\n".join(rows()))
