"""The list of models, on both databases: each is found, and counted, by the one word that its badge has."""

from app.api.events import ModelState
from app.console.progress import show
from app.db.session import Database
from app.db.transitions import mark_deleting
from app.domain.states import DELETING, LISTED, PAUSED, ModelStatus
from app.services import catalogue, contents, files, operations, queue
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
    expected = {word: set[object]() for word in LISTED} | {
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


async def test_files_are_found_by_a_part_of_their_path_sorted_and_counted(database: Database) -> None:
    model_id, other = [await by_hand.ready_model(database, f"acme/{name}") for name in ("model", "other")]
    kept = [("b/Large.bin", 9, "1" * 64), ("a.txt", 1, "2" * 64), ("c_1.txt", 5, "3" * 64), ("cx1.txt", 5, "4" * 64)]
    async with database.begin() as connection:
        await files.record(connection, model_id, kept)
        await files.record(connection, other, [("large.bin", 9, "1" * 64)])

    async def found(sort: str, text: str = "", limit: int = 9, offset: int = 0) -> list[str]:
        async with database.read() as connection:
            rows = await catalogue.files(connection, model_id, text=text, sort=sort, limit=limit, offset=offset)
            assert offset or await catalogue.count_files(connection, model_id, text) == len(rows)
            return [row.path[0] + row.path[1:2] for row in rows]

    assert await found("path") == ["a.", "b/", "c_", "cx"]
    assert await found("-path") == ["cx", "c_", "b/", "a."]
    assert await found("size") == ["a.", "c_", "cx", "b/"]
    assert await found("-size") == ["b/", "c_", "cx", "a."]
    assert await found("-size", limit=2, offset=2) == ["cx", "a."]
    assert await found("path", "LARGE") == ["b/"]
    assert await found("path", "_") == ["c_"]
