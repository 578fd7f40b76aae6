"""The alert rules for Prometheus and the dashboard for Grafana speak of figures, labels and values that there are."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from app.db.revisions import revisions
from app.db.session import Database
from app.depot.figures import Figures
from app.depot.metrics import ApiMetrics, StoreMetrics
from app.depot.readiness import Readiness
from app.depot.volume import Volume
from app.domain.commands import Command
from app.domain.errors import Reason
from app.storage.posix import PosixStore
from app.wakeup import Wakeup, connect
from worker.metrics import WorkerMetrics

_ROOT = Path(__file__).parents[1]
Exported = dict[str, dict[str, set[str]]]
"""The values of each label of each figure."""
_FIGURE = re.compile(r"(modeldepot_\w+)(?:\{(\w+)(=~?|!~)\"([^\"]*)\"\})?")


@pytest.fixture
async def exported(database: Database, redis_url: str, tmp_path: Path) -> Exported:
    """By an API and a worker that have both done something."""
    volume, wakeup = Volume(PosixStore(tmp_path), writes=True), Wakeup(connect(redis_url))
    readiness = Readiness(database, revisions(), wakeup, volume)
    store = StoreMetrics()
    api, worker = ApiMetrics(volume, database, Figures(), store), WorkerMetrics(volume, slots=1)
    for status in ("200", "403", "503", "none"):
        store.asked("GetObject", status, 0.1)
    api.answered("GET", 500, 0.1)
    worker.tried_again(Reason.BUSY)
    with worker.attempt(Command.CREATE_MODEL, occupies=True):
        pass
    text = (await api.scrape(readiness) + await worker.scrape(readiness)).decode()
    await wakeup.close()
    exported: Exported = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = exported.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return exported


def test_every_figure_that_a_rule_names_is_exported(exported: Exported) -> None:
    _are_exported([rule["expr"] for rule in _rules() if "modeldepot_" in rule["expr"]], exported)


def test_every_rule_says_how_bad_it_is_what_is_wrong_and_what_to_do() -> None:
    for rule in _rules():
        assert rule["labels"]["severity"] in {"critical", "warning"}, rule
        assert all(rule["annotations"][name] for name in ("summary", "runbook")), rule


def test_every_figure_that_the_dashboard_shows_is_exported(exported: Exported) -> None:
    targets = [target for panel in _dashboard()["panels"] for target in panel["targets"]]
    _are_exported([target["expr"] for target in targets], exported)
    for target in targets:
        grouped = re.findall(r"by \(([^)]*)\)", target["expr"])
        labels = {label for group in grouped for label in group.split(", ")}
        assert labels >= set(re.findall(r"{{(\w+)}}", target["legendFormat"])), target
        for name, *_ in _FIGURE.findall(target["expr"]):
            assert labels <= exported[name].keys(), target


def test_the_dashboard_can_be_imported_into_any_grafana() -> None:
    dashboard = _dashboard()
    assert dashboard["uid"]
    assert dashboard["schemaVersion"] >= 39
    (variable,) = dashboard["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    parts = list(_parts(dashboard))
    assert not [part for part in parts if isinstance(part.get("id"), int)], "ids are for that Grafana to give"
    sources = [part["datasource"] for part in parts if "datasource" in part]
    assert len(sources) > len(dashboard["panels"])
    assert all(source == {"type": "prometheus", "uid": f"${{{variable['name']}}}"} for source in sources)


def _are_exported(expressions: list[str], exported: Exported) -> None:
    for expression in expressions:
        named = _FIGURE.findall(expression)
        assert named, expression
        for name, label, _, pattern in named:
            assert name in exported, f"nobody exports {name}"
            values = exported[name].get(label, ())
            assert not label or any(re.fullmatch(pattern, value) for value in values), (name, pattern)


def _rules() -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = yaml.safe_load((_ROOT / "deploy" / "alerts.yml").read_text())["groups"][0]["rules"]
    return rules


def _dashboard() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((_ROOT / "deploy" / "dashboard.json").read_text())
    return content


def _parts(value: object) -> Iterator[dict[str, Any]]:
    """Every object in it, itself first."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _parts(inner)
