"""What workers tell of their downloads through Redis, and how much of it is kept."""

import asyncio
from uuid import uuid4

from app.depot.arrivals import Arrival, Arrivals
from app.wakeup import connect


async def test_what_a_worker_tells_is_what_a_page_shows(redis_url: str) -> None:
    redis, model_id = connect(redis_url), uuid4()
    worker, page = Arrivals(redis, interval=0.05), Arrivals(redis)
    assert await page.look(model_id) is None
    async with worker.telling(), asyncio.timeout(30):
        worker.note(model_id, 1000, [["model.safetensors", 100, 40]])
        while (arrival := await page.look(model_id)) is None:  # noqa: ASYNC110  # Redis tells of no change
            await asyncio.sleep(0.02)
    assert arrival.files == [("model.safetensors", 100, 40)]
    assert arrival.rates[0] == 1000
    assert await page.look(uuid4()) is None
    await redis.aclose(close_connection_pool=True)


async def test_without_redis_nothing_is_told_and_nothing_fails() -> None:
    redis, model_id = connect("redis://127.0.0.1:9"), uuid4()
    arrivals = Arrivals(redis, interval=0.01)
    async with arrivals.telling():
        arrivals.note(model_id, 1, [])
        assert await arrivals.look(model_id) is None
    await redis.aclose(close_connection_pool=True)


def test_the_picture_of_a_long_download_stays_small() -> None:
    arrival = Arrival()
    for number in range(1000):
        arrival.sample(number)
    assert len(arrival.rates) < 120
    assert arrival.every > 2
    assert arrival.rates == sorted(arrival.rates)
