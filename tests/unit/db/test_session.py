"""A write through a connection for reading is an error of the type checker's, before it is one of the database's."""

import re
import subprocess
import sys
from pathlib import Path

from tests.sources import ROOT

_MODULE = """\
from uuid import UUID
from sqlalchemy import delete, select
from app.db.session import Database
from app.db.tables import ModelRow
from app.services import models, operations

async def use(database: Database, model_id: UUID) -> None:
    async with database.begin() as writer, database.read() as reader:
        await reader.execute(select(ModelRow.id))
        await writer.execute(delete(ModelRow))
        await models.get(reader, model_id)
        await models.get(writer, model_id)
        await models.forget(writer, model_id)
        await reader.execute(delete(ModelRow))  # wrong
        await reader.commit()  # wrong
        await models.forget(reader, model_id)  # wrong
        (await models.get(reader, model_id)).nmae  # wrong
        (await operations.get_many(reader, [model_id]))[model_id].staet  # wrong
"""


def test_wrong_writes_and_columns_are_type_errors(tmp_path: Path) -> None:
    module = tmp_path / "snippet.py"
    module.write_text(_MODULE)
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", str(module)]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = {int(line) for line in re.findall(r"snippet\.py:(\d+): error", checked.stdout)}
    wrong = {number for number, line in enumerate(_MODULE.splitlines(), 1) if "# wrong" in line}
    assert found == wrong, checked.stdout + checked.stderr
