"""Pulls are folded: one write for all that came, and what can't be written is written later."""

from uuid import UUID, uuid4

import pytest

from app.db.session import Database, open_database
from app.depot import pulls
from app.depot.pulls import Pull, Pulls
from app.services import models
from tests import by_hand


async def _file(counted: Pulls, model_id: UUID, address: str = "192.0.2.1", sent: int = 10) -> None:
    await counted.begin(Pull(model_id, "EXO", "gpu-1", None, address, "hf/2", "of-the-test"))
    counted.sent(model_id, sent)


async def test_the_requests_of_one_caller_are_one_pull_until_it_is_silent(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_id, counted = await by_hand.ready_model(database, "acme/tiny"), Pulls(database)
    for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
        await _file(counted, model_id, address)
    await counted.flush()
    monkeypatch.setattr(pulls, "_SILENCE", 0.0)
    await _file(counted, model_id)
    await counted.flush()
    await counted.flush()
    async with database.read() as connection:
        model = await models.get(connection, model_id)
    assert (model.pulls, model.bytes_sent) == (3, 40)
    assert (model.last_pulled_by, model.last_pulled_with) == ("gpu-1", "hf/2")
    assert model.last_pulled_at is not None


async def test_a_model_that_is_gone_costs_nothing(database: Database) -> None:
    counted = Pulls(database)
    await _file(counted, uuid4())
    await counted.flush()


async def test_what_can_not_be_written_is_written_later(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    model_id, counted = await by_hand.ready_model(database, "acme/tiny"), Pulls(database)
    await _file(counted, model_id)
    with monkeypatch.context() as broken:
        broken.setattr(counted, "_database", open_database("sqlite:////nowhere/depot.sqlite3"))
        await counted.flush()
    await _file(counted, model_id)
    await counted.flush()
    async with database.read() as connection:
        model = await models.get(connection, model_id)
    assert (model.pulls, model.bytes_sent) == (1, 20)


async def test_bytes_that_are_sent_after_a_pull_was_written_do_not_hide_who_pulled(database: Database) -> None:
    """A large file takes longer than the time between two writes."""
    model_id, counted = await by_hand.ready_model(database, "acme/tiny"), Pulls(database)
    await _file(counted, model_id)
    await counted.flush()
    counted.sent(model_id, 5)
    await counted.flush()
    async with database.read() as connection:
        model = await models.get(connection, model_id)
    assert (model.pulls, model.bytes_sent) == (1, 15)
    assert (model.last_pulled_by, model.last_pulled_with) == ("gpu-1", "hf/2")
