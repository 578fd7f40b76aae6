"""What is done, in the order of its figures: with filters and pages, also for a key that is limited to some models."""

import html
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import insert

from app.db.session import Database
from app.db.tables import OperationRow
from app.domain.commands import Command
from app.domain.states import OperationState
from tests import by_hand
from tests.api.test_auth import make_key
from tests.console.conftest import Site, User
from tests.processes import until

MANY = 120
"""More than two pages hold."""
_ROW = re.compile(r'<td data-label="Of"><span class="clip" title="([^"]+)"')


@pytest.fixture(scope="module")
def operator(site: Site) -> User:
    """Somebody who sees many ended operations: the later ones took longer and fetched more, every tenth failed."""

    async def add(database: Database) -> None:
        async with database.begin() as connection:
            await connection.execute(insert(OperationRow), [_operation(number) for number in range(MANY)])

    by_hand.run(site.api.database_url, add)
    return site.user()


def _operation(number: int) -> dict[str, Any]:
    at = datetime(2026, 1, 1, tzinfo=UTC) - timedelta(days=number)
    owner = "ours" if number % 2 else "theirs"
    return {
        "id": uuid4(),
        "command": Command.CREATE_MODEL,
        "resource_id": uuid4(),
        "resource_name": f"{owner}/model-{number:03}",
        "state": OperationState.SUCCESS if number % 10 else OperationState.FAILURE,
        "created_at": at,
        "begun_at": at,
        "ended_at": at + timedelta(seconds=number),
        "deadline_at": at,
        "due_at": at,
        "fence": 1,
        "attempts": 1,
        "reached": 0,
        "to_fetch": number**2 * 1_000_000,
    }


def _numbers(user: User, query: str) -> list[int]:
    """Which operations all pages from there on show, by their place; the pages are linked, and no operation is twice."""
    found, address, last = [], f"/console/activity?{query}", False
    while not last:
        page = user.page(address)
        found += [int(name.rpartition("-")[2]) for name in _ROW.findall(page.partition('<h2 id="done">')[2])]
        further = re.search(r'id="page-next" rel="next" href="([^"]+)"', page)
        address, last = html.unescape(further[1]) if further else "", further is None
    assert len(found) == len(set(found))
    return found


def test_what_is_done_is_sorted_by_its_figures_on_numbered_pages(operator: User) -> None:
    good = [number for number in range(MANY) if number % 10]
    failed = [number for number in range(MANY) if not number % 10]
    assert _numbers(operator, "sort=took") == [*range(1, MANY), 0]  # 0 took no time
    assert _numbers(operator, "sort=-took") == [*range(1, MANY)[::-1], 0]
    for figure in ("fetched", "average"):
        assert _numbers(operator, f"sort={figure}") == good + failed
        assert _numbers(operator, f"sort=-{figure}") == good[::-1] + failed
    page = operator.page("/console/activity?sort=-took&page=2")
    assert "Page 2 of 3" in page
    assert re.search(
        r'title="From the request[^"]+" aria-sort="descending"><a id="sort-took" href="[^"]*sort=took#done"', page
    )
    assert "Page 3 of 3" in operator.page("/console/activity?sort=took&page=99")
    assert "Page " not in operator.page("/console/activity?page=2").partition('<h2 id="done">')[2]


def test_an_order_and_the_filters_keep_each_other(site: Site, operator: User) -> None:
    failed = [number for number in range(MANY) if not number % 10]
    assert _numbers(operator, "sort=-took&state=failure") == [*failed[:0:-1], 0]
    assert _numbers(operator, "sort=took&state=timeout") == []
    assert len(_numbers(operator, "sort=average&command=create-model")) == MANY
    assert _numbers(operator, "sort=average&command=delete-model") == []
    until(lambda: "failure <span" in operator.page("/console/activity"), site.api.depot.logs)
    page = html.unescape(operator.page("/console/activity?state=success&command=create-model&sort=-fetched&page=2"))
    for link in (
        'id="sort-took" href="/console/activity?state=success&command=create-model&sort=-took#done"',
        'id="sort-created" href="/console/activity?state=success&command=create-model#done"',
        'id="chip-state-failure" href="/console/activity?state=failure&command=create-model&sort=-fetched#done"',
        'id="page-next" rel="next" href="/console/activity?state=success&command=create-model&sort=-fetched&page=3#done"',
    ):
        assert link in page


def test_a_limited_key_sorts_and_pages_through_what_is_its_own(site: Site, operator: User) -> None:  # noqa: ARG001
    user = site.user(*make_key(site.api, models=["ours/*"]))
    ours = [number for number in range(MANY) if number % 2]
    for figure in ("took", "fetched", "average"):
        assert _numbers(user, f"sort={figure}") == ours
        assert _numbers(user, f"sort=-{figure}&state=success") == ours[::-1]
    assert "Page 2 of 2" in user.page("/console/activity?sort=took&page=2")
