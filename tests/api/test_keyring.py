"""What many requests with one key cost the database."""

import asyncio

import pytest
from sqlalchemy import event, update

from app.db.access_tables import KeyRow
from app.db.session import Database
from app.domain.keys import Role, limit_to
from app.http.keyring import Keyring
from app.sealing import CannotOpen, Sealer
from app.services import keys
from tests.depot import SECRET_KEY


async def test_all_who_ask_for_a_key_at_once_are_answered_by_one_look(database: Database) -> None:
    sealer = Sealer([SECRET_KEY])
    async with database.begin() as connection:
        key_id, secret = await keys.create(connection, sealer, name="a test", role=Role.READER, expires=None)
    asked: list[str] = []
    event.listen(database.reader.sync_engine, "before_cursor_execute", lambda *told: asked.append(told[2]))
    keyring = Keyring(database, sealer)
    found = await asyncio.gather(*(keyring.find(key_id) for _ in range(50)))
    assert {key.secret for key in found if key} == {secret.encode()}
    assert None not in found
    reads = [statement for statement in asked if "api_keys" in statement]
    assert len(reads) == 1


async def test_a_limited_key_opens_nothing_without_its_limit(database: Database) -> None:
    sealer, limit = Sealer([SECRET_KEY]), limit_to(["acme/*"])
    async with database.begin() as connection:
        key_id, secret = await keys.create(
            connection, sealer, name="a test", role=Role.READER, expires=None, limit=limit
        )
        row = await keys.usable(connection, key_id)
        assert await keys.unopenable(connection, sealer) == ([], 1)
    key = await Keyring(database, sealer).find(key_id)
    assert key is not None
    assert (key.secret, key.limit) == (secret.encode(), limit)
    assert (key.may_read("Acme/chat"), key.may_read("other/chat")) == (True, False)
    assert row is not None
    with pytest.raises(CannotOpen):  # as an older version opens it, which does not know limits
        sealer.open(row.sealed_secret, belongs_to=key_id)
    for models in (None, "*/*"):
        async with database.begin() as connection:
            await connection.execute(update(KeyRow).values(models=models))
        assert await Keyring(database, sealer).find(key_id) is None


async def test_whoever_leaves_while_a_key_is_looked_for_takes_it_from_nobody_else(database: Database) -> None:
    sealer = Sealer([SECRET_KEY])
    async with database.begin() as connection:
        key_id, _ = await keys.create(connection, sealer, name="a test", role=Role.READER, expires=None)
    keyring = Keyring(database, sealer)
    first, second = asyncio.create_task(keyring.find(key_id)), asyncio.create_task(keyring.find(key_id))
    await asyncio.sleep(0)
    first.cancel()
    key = await second
    assert key is not None
    assert key.id == key_id
