"""The workers' page: filtered, in an order, a page at a time, and the same when it asks for itself."""

import html
import re
from collections.abc import Sequence

import pytest
from sqlalchemy import delete, update

from app.db.clock import now
from app.db.session import Database
from app.db.tables import WorkerRow
from app.services import workers
from app.services.workers import Presence
from tests import by_hand
from tests.console.conftest import Site, User
from tests.processes import until

_CREW = ("c:1", "A:2", "b:3", "d:4")
"""In the order in which they started. The first holds one operation, the third two, and the last is silent."""


@pytest.fixture(scope="module")
def operator(site: Site) -> User:
    for _ in range(3):
        site.api.depot.create(site.api.name())

    async def work(database: Database) -> None:
        await _announce(database, _CREW)
        for worker in ("c:1", "b:3", "b:3"):
            assert await by_hand.claim(database, worker, lease=3600.0) is not None
        async with database.begin() as connection:
            silent = update(WorkerRow).where(WorkerRow.name == "d:4")
            await connection.execute(silent.values(seen_at=now(-12_000.0)))

    by_hand.run(site.api.database_url, work)
    user = site.user()
    until(lambda: _shown(user) == list(_CREW), site.api.depot.logs)
    return user


async def _announce(database: Database, names: Sequence[str]) -> None:
    for name in names:
        async with database.begin() as connection:
            presence = Presence(name, name.partition(":")[0], "1.2.3", slots=3, poll_interval=3600.0)
            await workers.announce(connection, presence, fresh=True)


def _shown(user: User, query: str = "") -> list[str]:
    return re.findall(r'data-worker="([^"]+)"', user.page(f"/console/workers{query}"))


def test_a_pill_says_what_the_chip_says_and_the_address_asks_for(operator: User) -> None:
    page = operator.page("/console/workers")
    chips = re.findall(r'<a id="chip-status-(\w+)" href="([^"]+)"[^>]*>(\w+) <span class="count">(\d+)</span>', page)
    assert [(value, word, int(number)) for value, _, word, number in chips] == [
        ("all", "all", 4),
        ("busy", "busy", 2),
        ("idle", "idle", 1),
        ("silent", "silent", 1),
    ]
    for value, address, word, number in chips[1:]:
        assert address == f"/console/workers?status={value}"
        shown = operator.page(address)
        assert re.findall(r'<span class="pill [a-z]+">(\w+)</span>', shown) == [word] * int(number)
        assert f'{word} <span class="count">{number}</span>' in shown
        assert 'all <span class="count">4</span>' in shown
    assert _shown(operator, "?status=alive") == list(_CREW)  # no such word
    assert "<dd>3<small> and 1 silent</small></dd>" in page


def test_workers_are_sorted_the_silent_ones_last(operator: User) -> None:
    for sort, names in {
        "started": "c:1 A:2 b:3",
        "-started": "b:3 A:2 c:1",
        "name": "A:2 b:3 c:1",
        "-name": "c:1 b:3 A:2",
        "slots": "A:2 c:1 b:3",
        "-slots": "b:3 c:1 A:2",
        "nonsense": "c:1 A:2 b:3",
    }.items():
        assert _shown(operator, f"?sort={sort}") == [*names.split(), "d:4"], sort
    page = html.unescape(operator.page("/console/workers?status=busy&sort=-slots"))
    assert 'id="sort-slots" href="/console/workers?status=busy&sort=slots" aria-current="true"' in page
    assert 'id="chip-status-idle" href="/console/workers?status=idle&sort=-slots"' in page
    assert 'hx-get="/console/workers?status=busy&sort=-slots"' in page


def test_many_workers_are_shown_a_page_at_a_time_and_who_is_dismissed_leaves_the_filter(
    site: Site, operator: User
) -> None:
    names = [f"many-{number:03}:1" for number in range(60)]
    by_hand.run(site.api.database_url, lambda database: _announce(database, names))
    until(lambda: "Page 1 of 2" in operator.page("/console/workers?sort=name"), site.api.depot.logs)
    pages = [_shown(operator, f"?sort=name&status=idle&page={number}") for number in (1, 2, 99)]
    assert pages[0] + pages[1] == ["A:2", *names]
    assert pages[2] == pages[1]
    second = html.unescape(operator.page("/console/workers?sort=name&page=2"))
    assert 'hx-get="/console/workers?sort=name&page=2"' in second
    assert second.count('data-worker="') == 14

    silent = html.unescape(operator.page("/console/workers?status=silent"))
    assert 'name="back" value="/console/workers?status=silent"' in silent
    answer = operator.send("/console/workers/dismiss", name="d:4", back="/console/workers?status=silent")
    assert answer.headers["location"] == "/console/workers?status=silent"
    assert "No worker is like that." in operator.page("/console/workers?status=silent")

    async def forget(database: Database) -> None:
        async with database.begin() as connection:
            await connection.execute(delete(WorkerRow))

    by_hand.run(site.api.database_url, forget)
    until(lambda: _shown(operator) == [], site.api.depot.logs)
    assert "chip-status" not in operator.page("/console/workers")
