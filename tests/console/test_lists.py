"""Deployments, activity, storage, workers and the audit: what their pages show of an empty depot and of a filled one."""

import csv
import html
import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, update

from app.db.access_tables import AuditRow
from app.db.clock import now
from app.db.session import Database
from app.db.tables import OperationRow, WorkerRow
from app.db.transitions import end_operation, move_model
from app.domain.errors import Reason
from app.domain.states import ModelStatus, OperationState
from app.services import downloads, files, samples, workers
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
        activity = user.page("/console/activity")
        assert "Idle: nothing is under way." in activity
        assert "Nothing has ended yet." in activity
        assert "Needs attention" not in activity
        assert "No worker is there" in user.page("/console/workers")
        storage = user.page("/console/storage")
        assert "No files yet." in storage
        assert '<h2 id="models">' not in storage
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
    row = page.partition(f'data-deployment="{by_id}"')[2].partition("</tr>")[0]
    assert '<span class="pill declared">declared</span>' in row
    assert 'kind=declared">declared <span class="count">' in page
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
    for path in ("/console/deployments", "/console/activity"):
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


def test_many_deployments_and_ended_operations_are_shown_a_page_at_a_time(site: Site, operator: User) -> None:
    model_id = site.api.ready_model()
    for number in range(MANY):
        body = {"name": f"one-of-{number}", "model": {"id": model_id}}
        assert site.api.ask("POST", "/ai/deployment", body).status_code == 200
    for path, what in (("/console/deployments", "deployment"), ("/console/activity", "operation")):
        found, address = [], path
        while address:
            page = operator.page(address)
            found += listed(page, what)
            older = re.search(r'rel="next" href="([^"]+)"', page)
            address = html.unescape(older[1]) if older else ""
        assert len(found) == len(set(found)) >= MANY
        assert listed(operator.page(path), what) == found[:50]
    assert "Nothing further" in operator.page(f"/console/activity?before={UUID(int=0)}")
    oldest = listed(operator.page("/console/activity?sort=created"), "operation")
    assert oldest[:50] == found[::-1][:50]
    by_name = listed(operator.page("/console/deployments?q=one-of-&sort=name"), "deployment")
    assert by_name != listed(operator.page("/console/deployments?q=one-of-&sort=-name"), "deployment")
    assert f"{MANY} deployments; 1 to 50 shown" in operator.page("/console/deployments?q=one-of-")
    assert "No deployment is like that." in operator.page("/console/deployments?q=nothing-is-called-so")


def test_the_page_of_a_model_leads_to_all_its_deployments_and_all_its_past(site: Site, operator: User) -> None:
    model_id, other = site.api.ready_model(), site.api.ready_model()
    name = site.api.depot.model(model_id)["name"]
    for number in range(MANY):
        deploy(site, operator, model=model_id, name=f"holder-{number}")
    deploy(site, operator, model=other, name="holder of another")
    page = operator.page(f"/console/models/{model_id}")
    assert page.count("holder-") == 20  # ten names, in two places
    address = f"/console/deployments?of={model_id}"
    assert f'href="{address}">and others</a>' in page
    shown = operator.page(address)
    assert f"{MANY} deployments; 1 to 50 shown" in shown
    assert f'aria-current="true">{name}</a>' in shown
    assert 'id="chip-of-all" href="/console/deployments"' in shown
    assert "holder of another" not in shown + operator.page(f"{address}&page=2")
    assert len(listed(operator.page(f"{address}&q=holder-7"), "deployment")) == 1
    assert "1 deployment<" in operator.page(f"/console/deployments?of={other}")
    assert "holder of another" in operator.page("/console/deployments?of=nonsense")

    address = f"/console/activity?of={model_id}"
    for sort in ("", "created", "-took"):
        shown = operator.page(f"{address}&sort={sort}")
        assert len(listed(shown.partition('<h2 id="done">')[2], "operation")) == 1
        assert f'aria-current="true">{name}</a>' in shown
    assert "Nothing is like that." in operator.page(f"{address}&state=failure")
    assert "Nothing is like that." in operator.page(f"/console/activity?of={UUID(int=0)}")
    assert "holder of another" in operator.page("/console/activity?of=nonsense")


def test_what_is_gone_is_still_named_by_its_operations_and_in_the_audit(site: Site, operator: User) -> None:
    model_id = site.api.ready_model()
    name = site.api.depot.model(model_id)["name"]
    deletion = site.api.ask("DELETE", f"/ai/model/{model_id}").json()["id"]
    site.api.carry_out()
    shown = operator.page("/console/activity").partition(f'data-operation="{deletion}"')[2].partition("</tr>")[0]
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
    assert f'all <span class="count">{len(found)}</span>' in operator.page("/console/audit")
    first = operator.page("/console/audit?outcome=refused").partition("data-entry=")[2].partition("</tr>")[0]
    assert '<span class="pill refused">refused</span><small>404 Not Found</small>' in first


def test_what_is_done_is_filtered_by_outcome_and_command_with_counts(site: Site, operator: User) -> None:
    operation = site.api.depot.create(site.api.name())
    site.api.fail(Reason.FORBIDDEN)
    failures = operator.page("/console/activity?state=failure&command=create-model")
    done = failures.partition('<h2 id="done">')[2]
    assert listed(done, "operation")[0] == operation["id"]
    assert set(listed(done, "state")) == {"failure"}
    assert 'href="/console/activity?state=failure#done"' in done  # all commands, and still the outcome
    assert "forbidden" in done
    assert re.search(r'failure <span class="count">\d+</span>', done)
    assert listed(operator.page("/console/activity?state=timeout").partition('<h2 id="done">')[2], "operation") == []
    both = operator.page("/console/activity?command=delete-deployment").partition('<h2 id="done">')[2]
    assert operation["id"] not in both
    assert operation["id"] in operator.page("/console/activity?state=nonsense&before=nonsense")
    old = operator.client.get("/console/operations")
    assert (old.status_code, old.headers["location"]) == (303, "/console/activity")


def test_what_failed_needs_attention_until_it_is_dismissed_or_tried_again(site: Site, operator: User) -> None:
    ids = [site.api.depot.create(site.api.name())["reference"]["id"] for _ in range(3)]
    for _ in ids:
        site.api.fail(Reason.NOT_FOUND)
    page = operator.page("/console/activity/now")
    assert set(ids) <= set(listed(page, "failed"))
    assert "The Hub has no such repository." in page
    back = {"back": "/console/activity", f"pick-{ids[0]}": "yes"}
    asked = operator.send("/console/models/bulk", action="dismiss", **back)
    assert asked.status_code == 200
    assert "Shall this model be dismissed?" in asked.text
    dismissed = operator.send("/console/models/bulk", action="dismiss", sure="yes", **back)
    assert (dismissed.status_code, dismissed.headers["location"]) == (303, "/console/activity")
    site.api.carry_out()
    page = operator.page("/console/activity")
    assert "1 model is dismissed." in text_of(page.partition('id="toast"')[2])
    assert ids[0] not in listed(page, "failed")
    assert 'id="toast"' not in operator.page("/console/activity")

    again = operator.send("/console/models/bulk", action="retry-all", back="/console/activity")
    assert again.headers["location"] == "/console/activity"
    page = operator.page("/console/activity")
    said = re.search(r"(\d+) models are tried again\.", text_of(page))
    assert said is not None
    assert listed(page, "failed") == []
    waiting = page.partition('id="done"')[0]
    assert all(f"/console/models/{one}" in waiting for one in ids[1:])
    for _ in range(int(said[1])):
        site.api.carry_out()
    assert "Needs attention" not in operator.page("/console/activity/now")


def test_what_is_done_tells_bytes_average_and_retries(site: Site, operator: User) -> None:
    operation = site.api.depot.create(site.api.name())

    async def work(database: Database) -> None:
        for _ in range(2):  # the first worker dies
            claim = await by_hand.claim(database, lease=-1.0)
            assert claim is not None
        claim = await by_hand.claim(database)
        assert claim is not None
        await by_hand.arrive(database, claim, 0, total=4_000_000)
        async with database.begin() as connection:
            begun = update(OperationRow).where(OperationRow.id == claim.lease.operation_id)
            await connection.execute(begun.values(begun_at=now(-4.0), created_at=now(-65.0)))
            kept = [("model.safetensors", 4_000_000, "7" * 64)]
            await downloads.publish(connection, claim.lease, claim.resource_id, "/models/x", kept)

    by_hand.run(site.api.database_url, work)
    row = text_of(
        operator.page("/console/activity?command=create-model")
        .partition(f'data-operation="{operation["id"]}"')[2]
        .partition("</tr>")[0]
    )
    assert "Download" in row
    assert re.search(r"success 1 min 4\.0 MB (9\d\d kB|1\.0 MB)/s 2 ", row), row
    assert "took 1 min, 2 retries" in text_of(operator.page(f"/console/models/{operation['reference']['id']}"))


def test_figures_over_time_are_drawn_once_a_worker_recorded_them(site: Site, operator: User) -> None:
    assert "as soon as a worker has recorded" in operator.page("/console/activity")

    async def record(database: Database) -> None:
        async with database.begin() as connection:
            await samples.add(connection, fetched=600_000_000, used=40_000_000_000, free=60_000_000_000)

    by_hand.run(site.api.database_url, record)
    for span, words in (("", "the last 24 hours"), ("30d", "the last 30 days")):
        page = operator.page(f"/console/activity?span={span}")
        assert f"Bytes fetched per second in {words}: 600 MB in all" in page
        assert f"Storage in {words}: Used 40.0 GB, Free 60.0 GB" in page
        assert re.search(r'<path class="own" d="M[\d.]+,120L', page)


def test_the_audit_is_searched_filtered_and_exported(site: Site, operator: User) -> None:
    name = site.api.depot.model(site.api.ready_model())["name"]
    for query in (f"q={name}", f"q={name}&action=create-model", f"q={name}&outcome=accepted"):
        page = operator.page(f"/console/audit?{query}")
        assert len(listed(page, "entry")) == 1, query
    for query in (f"q={name}&outcome=refused", f"q={name}&action=sign-in"):
        assert "No entry is like that." in operator.page(f"/console/audit?{query}")
    newest, oldest = (listed(operator.page(f"/console/audit?sort={sort}"), "entry")[0] for sort in ("-at", "at"))
    assert newest != oldest
    for sort in ("action", "-name", "key", "-address", "outcome"):
        page = operator.page(f"/console/audit?q={name}&sort={sort}")
        assert len(listed(page, "entry")) == 1
        assert f'id="sort-{sort.removeprefix("-")}"' in page
    page = operator.page(f"/console/audit?q={name}&outcome=refused")
    assert 'accepted <span class="count">1</span>' in page
    assert 'refused <span class="count">0</span>' in page

    assert 'href="/console/audit.csv?q=' in operator.page(f"/console/audit?q={name}")
    answer = operator.client.get("/console/audit.csv", params={"q": name})
    assert answer.headers["content-type"].startswith("text/csv")
    titles, row = csv.reader(answer.text.splitlines())
    told = dict(zip(titles, row, strict=True))
    assert (told["action"], told["resource"], told["key"], told["outcome"]) == (
        "create-model",
        name,
        "bootstrap",
        "accepted",
    )
    deploy(site, operator, name="=1+1")
    assert "'=1+1" in operator.client.get("/console/audit.csv").text
    everything = list(csv.reader(operator.client.get("/console/audit.csv").text.splitlines()))
    assert len(everything) - 1 == audit_entries(site)


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
        assert "Deduplication" in page
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
            silent = update(WorkerRow).where(WorkerRow.name == "box-2:8").values(seen_at=now(-12_000.0))
            await connection.execute(silent)

    by_hand.run(site.api.database_url, work)
    until(lambda: "box-2:8" in operator.page("/console/workers"), site.api.depot.logs)
    page = operator.page("/console/workers")
    first, second = (text_of(part) for part in page.split('data-worker="')[1:])
    assert " busy " in first
    assert "1 of 3 slots" in first
    assert f"Download {name}" in first
    assert "25 % of 4.0 MB · 10.0 kB/s · 5 min left" in first
    assert "silent" in second
    assert 'max="4000000" value="1000000"' in page
    assert 'hx-trigger="every 3s"' in page

    assert "Nothing waits for it" in second

    shown = operator.page("/console/activity/now")
    assert "box-2:8" not in shown
    assert "box-1:7" in shown.partition(f'data-operation="{operation["id"]}"')[2].partition("</tr>")[0]


def test_a_silent_worker_needs_attention_while_its_work_waits_and_can_be_dismissed(
    site: Site, operator: User, reader: User
) -> None:
    site.api.depot.create(site.api.name())

    async def work(database: Database) -> None:
        presence = Presence("box-3:9", "box-3", "1.2.3", slots=3, poll_interval=3600.0)
        async with database.begin() as connection:
            await workers.announce(connection, presence, fresh=True)
        assert await by_hand.claim(database, "box-3:9", lease=-1.0) is not None
        async with database.begin() as connection:
            silent = update(WorkerRow).where(WorkerRow.name == "box-3:9").values(seen_at=now(-12_000.0))
            await connection.execute(silent)

    by_hand.run(site.api.database_url, work)
    alert = 'Worker <span class="mono">box-3:9</span> is silent'
    until(lambda: alert in operator.page("/console/activity/now"), site.api.depot.logs)
    assert "/console/workers/dismiss" not in reader.page("/console/activity/now")
    assert reader.send("/console/workers/dismiss", name="box-3:9").status_code == 403
    answer = operator.send("/console/workers/dismiss", name="box-3:9", back="/console/activity")
    assert answer.headers["location"] == "/console/activity"
    assert alert not in operator.page("/console/activity")
    assert "box-3:9" not in operator.page("/console/workers").partition("<main")[2].partition("toast")[0]
    assert operator.send("/console/workers/dismiss", name="box-3:9").status_code == 404
    site.api.carry_out()


def audit_entries(site: Site) -> int:
    """The number of records of the audit."""

    async def count(database: Database) -> int:
        async with database.read() as connection:
            return int((await connection.execute(select(func.count()).select_from(AuditRow))).scalar_one())

    found: int = by_hand.run(site.api.database_url, count)
    return found


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
