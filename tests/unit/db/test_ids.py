"""Many ids as one parameter."""

from uuid import uuid4

from app.db.session import Database
from app.services import models
from tests import by_hand


async def test_any_number_of_ids_is_looked_for_at_once(database: Database) -> None:
    there = {(await by_hand.create(database, f"acme/model-{number}")).resource_id for number in range(3)}
    strangers = [uuid4() for _ in range(50_000)]
    async with database.read() as connection:
        assert (await models.get_many(connection, [*strangers, *there])).keys() == there
        one = there.pop()
        assert (await models.get_many(connection, [one])).keys() == {one}
        assert await models.get_many(connection, []) == {}
