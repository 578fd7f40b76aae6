"""Deployments, operations, storage and workers: what their pages show of an empty depot and of a filled one."""

import html
import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from app.db.clock import now
from app.db.session import Database
from app.db.tables import WorkerRow
from app.db.transitions import end_operation, move_model
from app.domain.errors import Reason
from app.domain.states import ModelStatus, OperationState
from app.services import downloads, files, workers
from app.services.workers import Presence
from tests import by_hand
from tests.console.conftest import Site, User
from tests.depot import KEY
from tests.processes import until

pytestmark = pytest.mark.parametrize("site", ["postgresql"], indirect=True)
HOSTILE = "<img src=x onerror=alert(1)>"
MANY = 60
"""More than a page holds."""
_WIDTH = re.compile(r'<rect class="([a-z]+)" x="([\d.]+)%" y="0" width="([\d.]+)%"')


@pytest.fixture(scope="module")
def operator(site: Site) -> User:
    return site.user()


@pytest.fixture(scope="module")
def reader(site: Site) -> User:
    return site.reader()


def text_of(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def deploy(site: Site, operator: User, **fields: str) -> str:
    """The id of a new deployment."""
    model_id = fields.pop("model", None) or site.api.ready_model()
    answer = operator.send("/console/deployments", **({"name": f"of-{model_id}", "model": model_id} | fields))
    assert answer.status_code == 303, answer.text
    deployment_id: str = answer.headers["location"].rpartition("#d-")[2]
    return deployment_id


def listed(page: str, what: str) -> list[str]:
    return re.findall(rf'data-{what}="([^"]+)"', page)


# The first test of this module: nothing is there yet.
def test_an_empty_depot_says_on_each_page_that_it_is_and_what_to_do(site: Site, operator: User, reader: User) -> None:
    for user in (operator, reader):
        assert "No deployments yet." in user.page("/console/deployments")
        assert "Nothing was asked for yet." in user.page("/console/operations")
        assert "No worker is there" in user.page("/console/workers")
        storage = user.page("/console/storage")
        assert "No files yet." in storage
        assert "The largest models" not in storage
    assert "No model is ready" in operator.page("/console/deployments")
    assert site.api.stored() == ({"models": []}, {"deployments": []})


def test_a_deployment_is_declared_by_the_models_name_or_id_listed_with_it_and_deleted(
    site: Site, operator: User
) -> None:
    model_id = site.api.ready_model()
    name = site.api.depot.model(model_id)["name"]
    assert f'<option value="{name}">' in operator.page("/console/deployments")
    full = {"gpu-type": "H100", "gpu-count": "4", "replicas": "2", "deployment-url": "https://chat.example"}
    engine = {"inference-engine-version": "vLLM 1", "inference-engine-parameters": "--a=1\r\n\r\n --b \r\n"}
    by_name = deploy(site, operator, model=name, **full, **engine)
    by_id = deploy(site, operator, model=model_id, name="other")
    page = operator.page("/console/deployments")
    assert listed(page, "deployment")[:2] == [by_id, by_name]
    assert page.count(f'href="/console/models/{model_id}">{name}</a>') == 2
    assert "H100 · 2 replicas" in text_of(page)
    assert '<a href="https://chat.example" rel="noreferrer">' in page
    stored = site.api.ask("GET", f"/ai/deployment/{by_name}").json()
    assert stored["inference-engine-parameters"] == ["--a=1", "--b"]

    assert operator.send(f"/console/deployments/{by_name}/delete", sure="yes").status_code == 303
    assert by_name not in operator.page("/console/deployments")
    again = operator.send(f"/console/deployments/{by_name}/delete", sure="yes")
    assert again.status_code == 404
    assert 'role="alert"' in again.text


def test_what_is_typed_into_a_deployment_is_shown_and_never_run_or_followed(site: Site, operator: User) -> None:
    hostile = {"deployment-url": "javascript:alert(1)", "inference-engine-version": HOSTILE, "gpu-type": HOSTILE}
    deployment_id = deploy(site, operator, name=HOSTILE, **hostile)
    for path in ("/console/deployments", "/console/operations"):
        page = operator.page(path)
        assert HOSTILE not in page
        assert html.escape(HOSTILE) in page
    assert 'href="javascript' not in operator.page("/console/deployments")
    operator.send(f"/console/deployments/{deployment_id}/delete", sure="yes")


def test_a_reader_sees_deployments_and_no_way_to_change_them(site: Site, operator: User, reader: User) -> None:
    deployment_id = deploy(site, operator)
    page = reader.page("/console/deployments")
    assert deployment_id in page
    assert "data-action" not in page
    for path in ("/console/deployments", f"/console/deployments/{deployment_id}/delete"):
        assert reader.send(path, name="mine", model=site.api.ready_model()).status_code == 403
        assert operator.client.post(path, data={"name": "mine"}).status_code == 403  # without the form's token
    assert site.api.ask("GET", f"/ai/deployment/{deployment_id}").status_code == 200
    assert [each["name"] for each in site.api.stored()[1]["deployments"]].count("mine") == 0


def test_many_deployments_and_operations_are_shown_a_page_at_a_time(site: Site, operator: User) -> None:
    model_id = site.api.ready_model()
    for number in range(MANY):
        body = {"name": f"one-of-{number}", "model": {"id": model_id}}
        assert site.api.ask("POST", "/ai/deployment", body).status_code == 200
    for path, what in (("/console/deployments", "deployment"), ("/console/operations", "operation")):
        found, address = [], path
        while address:
            page = operator.page(address)
            found += listed(page, what)
            older = re.search(r'rel="next" href="([^"]+)"', page)
            address = html.unescape(older[1]) if older else ""
        assert len(found) == len(set(found)) >= MANY
        assert listed(operator.page(path), what) == found[:50]
    assert "Nothing older" in operator.page(f"/console/deployments?before={UUID(int=0)}")
    assert "Nothing older" in operator.page(f"/console/operations?before={UUID(int=0)}")


def test_what_is_gone_is_still_named_by_its_operations_and_in_the_audit(site: Site, operator: User) -> None:
    model_id = site.api.ready_model()
    name = site.api.depot.model(model_id)["name"]
    deletion = site.api.ask("DELETE", f"/ai/model/{model_id}").json()["id"]
    site.api.carry_out()
    shown = operator.page("/console/operations").partition(f'data-operation="{deletion}"')[2].partition("</tr>")[0]
    assert name in shown
    entry = operator.page("/console/audit").partition("data-entry=")[2].partition("</tr>")[0]
    for text in ("delete-model", name, model_id, "bootstrap", KEY, "127.0.0.1", "accepted"):
        assert text in entry


def test_the_audit_is_shown_a_page_at_a_time(site: Site, operator: User) -> None:
    for _ in range(51):
        assert site.api.ask("DELETE", f"/ai/model/{UUID(int=1)}").status_code == 404
    found, address = [], "/console/audit"
    while address:
        page = operator.page(address)
        found += listed(page, "entry")
        older = re.search(r'rel="next" href="([^"]+)"', page)
        address = html.unescape(older[1]) if older else ""
    assert len(found) == len(set(found)) > 50
    assert "Nothing older" in operator.page(f"/console/audit?before={UUID(int=0)}")


def test_operations_are_filtered_by_state_and_command(site: Site, operator: User) -> None:
    operation = site.api.depot.create(site.api.name())
    site.api.fail(Reason.FORBIDDEN)
    failures = operator.page("/console/operations?state=failure&command=create-model")
    assert listed(failures, "operation")[0] == operation["id"]
    assert set(listed(failures, "state")) == {"failure"}
    assert 'href="/console/operations?state=failure"' in failures  # all commands, and still the state
    assert "forbidden" in failures
    assert "The Hub has no such repository." in failures
    assert listed(operator.page("/console/operations?state=timeout"), "operation") == []
    both = operator.page("/console/operations?command=delete-deployment")
    assert operation["id"] not in both
    assert operation["id"] in operator.page("/console/operations?state=nonsense&before=nonsense")


def test_the_storage_page_tells_what_models_share(site: Site, operator: User) -> None:
    base, rest = site.api.name(), site.api.name()

    async def fill(database: Database) -> None:
        await _ready(database, base, [("base.bin", 4_000_000, "1" * 64), ("own.bin", 1_000_000, "2" * 64)])
        await _ready(database, rest, [("base.bin", 4_000_000, "1" * 64)])

    by_hand.run(site.api.database_url, fill)
    until(lambda: "4.0 MB saved" in text_of(operator.page("/console/storage")), site.api.depot.logs, 90)
    page = operator.page("/console/storage")
    rows = {name: text_of(row) for name, row in re.findall(r'">(acme/[^<]+)</a>(.*?)</tr>', page, re.DOTALL)}
    assert rows[base].startswith("5.0 MB 4.0 MB 1.0 MB")
    assert rows[rest].startswith("4.0 MB 4.0 MB 0 B")
    disk = _WIDTH.findall(
        page.partition("</svg>")[0] + page.partition('aria-label="The disk')[2].partition("</svg>")[0]
    )
    widths = {name: float(width) for name, _, width in disk}
    assert {"own", "shared", "free"} <= set(widths)
    assert min(widths.values()) >= 0.3
    assert sum(widths.values()) == pytest.approx(100, abs=0.1)


def test_a_storage_that_is_away_is_told_and_the_rest_of_the_page_is_there(site: Site, operator: User) -> None:
    storage = site.api.depot.storage
    away = storage.rename(storage.with_name("away"))
    try:
        page = operator.page("/console/storage")
        assert 'role="alert"' in page
        assert "DEPOT_STORAGE" in page
        assert "What models share" in page
    finally:
        away.rename(storage)


def test_workers_are_shown_with_what_they_hold_how_far_it_is_and_who_fell_silent(site: Site, operator: User) -> None:
    operation = site.api.depot.create(site.api.name())
    name = site.api.depot.model(operation["reference"]["id"])["name"]

    async def work(database: Database) -> None:
        for worker in ("box-1:7", "box-2:8"):
            async with database.begin() as connection:
                presence = Presence(worker, worker[:5], "1.2.3", slots=3, poll_interval=3600.0)
                await workers.announce(connection, presence, fresh=True)
        claim = await by_hand.claim(database, "box-1:7", lease=3600.0)
        assert claim is not None
        async with database.begin() as connection:
            sizes = {"model_size": 4_000_000, "downloaded": 0, "total": 4_000_000}
            await move_model(connection, claim.resource_id, ModelStatus.DOWNLOADING, lease=claim.lease, **sizes)
            await downloads.report(
                connection, claim.lease, claim.resource_id, downloaded=1_000_000, rate=10_000, files=0
            )
            silent = update(WorkerRow).where(WorkerRow.name == "box-2:8").values(seen_at=now(-86_000.0))
            await connection.execute(silent)

    by_hand.run(site.api.database_url, work)
    until(lambda: "box-2:8" in operator.page("/console/workers"), site.api.depot.logs)
    page = operator.page("/console/workers")
    first, second = (text_of(part) for part in page.split('data-worker="')[1:])
    assert "alive" in first
    assert "1 of 3 slots" in first
    assert f"create-model {name}" in first
    assert "25 % of 4.0 MB · 10.0 kB/s · 5 min left" in first
    assert "silent" in second
    assert 'max="4000000" value="1000000"' in page
    assert 'hx-trigger="every 3s"' in page

    shown = operator.page("/console/operations?state=pending")
    assert "box-1:7" in shown.partition(f'data-operation="{operation["id"]}"')[2].partition("</tr>")[0]


async def _ready(database: Database, name: str, kept: Sequence[tuple[str, int, str]]) -> None:
    model_id: Any = (await by_hand.create(database, name)).resource_id
    claim = await by_hand.claim(database)
    assert claim is not None
    async with database.begin() as connection:
        size = sum(size for _, size, _ in kept)
        arrived = {"model_size": size, "downloaded": size, "total": size}
        await move_model(connection, model_id, ModelStatus.DOWNLOADING, lease=claim.lease, **arrived)
        await files.record(connection, model_id, kept)
        await move_model(connection, model_id, ModelStatus.READY, lease=claim.lease)
        await end_operation(connection, claim.lease, OperationState.SUCCESS)
