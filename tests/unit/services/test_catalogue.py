"""The list of models, on both databases: each is found, and counted, by the one word that its badge has."""

from app.api.events import ModelState
from app.console.progress import show
from app.db.session import Database
from app.db.transitions import mark_deleting
from app.domain.states import DELETING, LISTED, PAUSED, ModelStatus
from app.services import catalogue, contents, operations, queue
from app.services.catalogue import Search, Total
from tests import by_hand


async def test_models_are_found_and_counted_by_the_word_of_their_badge(database: Database) -> None:
    ready, going = [await by_hand.ready_model(database, f"acme/{name}") for name in ("ready", "going")]
    new = [(await by_hand.create(database, f"acme/{name}")).resource_id for name in ("creating", "paused", "stopped")]
    creating, paused, stopped = new
    async with database.begin() as connection:
        for model_id in (paused, stopped):
            await queue.pause(connection, model_id)
        for model_id in (going, stopped):
            await mark_deleting(connection, model_id, deleting=True)
    expected = dict.fromkeys(LISTED, set[object]()) | {
        ModelStatus.READY: {ready},
        ModelStatus.CREATING: {creating},
        PAUSED: {paused},
        DELETING: {going, stopped},
    }
    async with database.read() as connection:
        totals = await catalogue.totals(connection)
        assert await catalogue.count(connection, Search(), totals) == Total(5, totals[ModelStatus.READY].size * 2)
        for word, ids in expected.items():
            rows = await catalogue.find(connection, Search(status=word), limit=9, offset=0)
            assert {row.id for row in rows} == ids, word
            assert totals[word].number == len(ids)
            assert (await catalogue.count(connection, Search("acme/", word), totals)).number == len(ids)
            newest = await operations.newest(connection, [row.id for row in rows])
            shown = [show(ModelState(row, newest.get(row.id))) for row in rows]
            assert {one.word for one in shown if one} <= {word}
        assert [row.id for row in await contents.largest(connection, 9)] == [ready]
