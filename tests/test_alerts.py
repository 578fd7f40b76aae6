"""The alert rules for Prometheus speak of figures, labels and values that there are."""

import re
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

from app.db.session import open_database
from app.domain.commands import Command
from app.domain.errors import Reason
from app.figures import Figures
from app.metrics import ApiMetrics
from app.volume import Volume
from worker.metrics import WorkerMetrics

_RULES = Path(__file__).parents[1] / "alerts.yml"
_FIGURE = re.compile(r"(modeldepot_\w+)(?:\{(\w+)=~?\"([^\"]*)\"\})?")


async def test_every_figure_that_a_rule_names_is_exported(tmp_path: Path) -> None:
    exported = await _exported(tmp_path)
    rules = yaml.safe_load(_RULES.read_text())["groups"][0]["rules"]
    named = [found for rule in rules for found in _FIGURE.findall(rule["expr"])]
    assert len(named) > len(rules)
    for name, label, pattern in named:
        assert name in exported, f"nobody exports {name}"
        assert not label or any(re.fullmatch(pattern, value) for value in exported[name].get(label, ())), (
            name,
            pattern,
        )


async def _exported(folder: Path) -> dict[str, dict[str, set[str]]]:
    """The values of each label of each figure of an API and of a worker that have both done something."""
    volume, database = Volume(folder, writes=True), open_database(f"sqlite:///{folder / 'none'}")
    api, worker = ApiMetrics(volume, database, Figures().census), WorkerMetrics(volume, slots=1)
    api.answered("GET", 500, 0.1)
    worker.tried_again(Reason.BUSY)
    with worker.attempt(Command.CREATE_MODEL):
        pass
    text = (await api.scrape() + await worker.scrape()).decode()
    await database.close()
    exported: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = exported.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return exported
