"""What the files come to: each content once on the disk, whoever has it."""

from uuid import UUID

import pytest

from app.db.session import Database
from app.db.transitions import move_model
from app.domain.states import ModelStatus
from app.services import contents, files
from app.services.contents import Contents
from tests import by_hand

BASE, ADAPTER, TOKENIZER = "a" * 64, "b" * 64, "c" * 64


async def test_an_empty_depot_comes_to_nothing(database: Database) -> None:
    async with database.read() as connection:
        assert await contents.total(connection) == Contents(listed=0, own=0, shared=0, arriving=0)
        assert await contents.largest(connection, 9) == []


async def test_a_content_counts_once_however_many_files_have_it(database: Database) -> None:
    await _model(database, "acme/base", ("base.bin", 100, BASE), ("tokenizer.json", 7, TOKENIZER))
    await _model(
        database, "acme/tuned", ("base.bin", 100, BASE), ("adapter.bin", 10, ADAPTER), ("again.bin", 10, ADAPTER)
    )
    operation = await by_hand.create(database, "acme/arriving")
    async with database.begin() as connection:
        await move_model(connection, operation.resource_id, ModelStatus.DOWNLOADING, downloaded=30, total=90)

    async with database.read() as connection:
        total = await contents.total(connection)
        rows = await contents.largest(connection, 9)
        (first,) = await contents.largest(connection, 1)
        shares = [await contents.share(connection, row.id) for row in rows]
        nothing = await contents.share(connection, operation.resource_id)
    assert total == Contents(listed=227, own=17, shared=100, arriving=30)
    assert total.saved == 110
    assert [(row.name, row.model_size, row.own, row.shared) for row in rows] == [
        ("acme/tuned", 120, 10, 100),
        ("acme/base", 107, 7, 100),
    ]
    assert shares == [(row.own, row.shared) for row in rows]
    assert nothing == (0, 0)
    assert first == rows[0]
    assert {type(number) for number in (total.listed, total.own, first.own, first.shared)} == {int}


async def test_models_are_sorted_by_what_they_share_and_what_only_they_have(database: Database) -> None:
    await _model(database, "acme/alone", ("a.bin", 50, "1" * 64), ("b.bin", 5, TOKENIZER))
    await _model(database, "acme/tuned", ("a.bin", 100, BASE), ("b.bin", 10, ADAPTER), ("c.bin", 10, ADAPTER))
    await _model(database, "acme/base", ("a.bin", 100, BASE), ("b.bin", 5, TOKENIZER))
    await _model(database, "acme/empty")
    async with database.read() as connection:
        by_size = {row.name: tuple(row) for row in await contents.largest(connection, 9)}
        for sort in ("own", "-own", "shared", "-shared"):
            rows = await contents.largest(connection, 9, sort=sort)
            figures = [getattr(row, sort.removeprefix("-")) for row in rows]
            assert figures == sorted(figures, reverse=sort.startswith("-"))
            assert {row.name: tuple(row) for row in rows} == by_size
            assert [await contents.largest(connection, 1, offset=at, sort=sort) for at in range(4)] == [
                [row] for row in rows
            ]


@pytest.mark.parametrize(("linked", "kept"), [(True, 117), (False, 227)])
async def test_what_is_taken_is_what_models_have_and_downloads_still_need(
    database: Database, kept: int, *, linked: bool
) -> None:
    await _model(database, "acme/base", ("base.bin", 100, BASE), ("tokenizer.json", 7, TOKENIZER))
    await _model(
        database, "acme/tuned", ("base.bin", 100, BASE), ("adapter.bin", 10, ADAPTER), ("again.bin", 10, ADAPTER)
    )
    ids = [(await by_hand.create(database, f"acme/{name}")).resource_id for name in ("arriving", "failed", "mine")]
    async with database.begin() as connection:
        for model_id in ids:
            await move_model(connection, model_id, ModelStatus.DOWNLOADING, downloaded=30, total=90)
        await move_model(connection, ids[1], ModelStatus.ERROR)
    async with database.read() as connection:
        assert await contents.taken(connection, without=ids[2], linked=linked) == kept + 90 + 30


async def _model(database: Database, name: str, *kept: tuple[str, int, str]) -> UUID:
    model_id: UUID = (await by_hand.create(database, name)).resource_id
    async with database.begin() as connection:
        size = sum(size for _, size, _ in kept)
        await move_model(connection, model_id, ModelStatus.DOWNLOADING, model_size=size, downloaded=size, total=size)
        await files.record(connection, model_id, kept)
        await move_model(connection, model_id, ModelStatus.READY)
    return model_id
