"""Lists in slices: each follows the last row of the one before, whatever became of that."""

import pytest
from sqlalchemy import delete, update

from app.db.clock import now
from app.db.session import Database, Reader
from app.db.tables import ModelRow
from app.domain.errors import BadRequest, Conflict
from app.services import lists, models
from app.services.rows import Placed
from tests import many

_MANY = 50


async def _rest(connection: Reader, last: Placed) -> list[str]:
    found: list[str] = []
    row: Placed | None = last
    while row is not None:
        rows = await lists.models(connection, row, 7)
        found += [str(row.id) for row in rows]
        row = rows[-1] if rows else None
    return found


async def test_a_slice_follows_a_row_that_is_gone(database: Database) -> None:
    ids = await many.add_models(database, _MANY)
    async with database.begin() as connection:
        first = await lists.models(connection, None, 10)
        assert [str(row.id) for row in first] == ids[:10]
        await connection.execute(delete(ModelRow).where(ModelRow.id.in_([row.id for row in first[5:]])))
        assert await _rest(connection, first[-1]) == ids[10:]
        with pytest.raises(BadRequest):
            await lists.model_place(connection, first[-1].id)


async def test_rows_of_one_moment_are_told_apart_by_their_ids(database: Database) -> None:
    """A moment that Python's times can't hold, too."""
    await many.add_models(database, _MANY)
    async with database.begin() as connection:
        await connection.execute(update(ModelRow).values(created_at=now()))
        ids = [str(row.id) for row in await models.list_all(connection)]
        first = await lists.models(connection, None, 10)
        assert [str(row.id) for row in first] + await _rest(connection, first[-1]) == ids
        place = await lists.model_place(connection, first[3].id)
        assert await _rest(connection, place) == ids[4:]


async def test_files_of_a_model_that_changes_meanwhile_are_not_listed_in_part(database: Database) -> None:
    (model_id,) = await many.add_models(database, 1)
    await many.add_files(database, model_id, 30)
    async with database.begin() as connection:
        model = (await models.list_all(connection))[0]
        first = await lists.files(connection, None, 20, model=model)
        assert len(await lists.files(connection, first[-1], 20, model=model)) == 10
        await connection.execute(update(ModelRow).values(updated_at=now()))
        with pytest.raises(Conflict):
            await lists.files(connection, first[-1], 20, model=model)
