"""The API does what its OpenAPI document says, and nothing that it does not say; `by_document` tries more of it."""

import json

import pytest

from tests.api.by_document import REPOSITORY, check
from tests.conftest import StartDepot
from tests.fakehub.hub import Hub

EXAMPLES = 5
LEAST = 400
"""Cases, of which most are at the edges of a schema."""


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_every_answer_is_one_that_the_document_lists(start_depot: StartDepot, hub: Hub) -> None:
    hub.add(REPOSITORY, {"config.json": b"{}"})
    depot = start_depot()
    depot.wait(depot.create(REPOSITORY)["id"])
    report = depot.folder / "report.json"
    done = check(depot, EXAMPLES, "--report-json-path", str(report))
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(report.read_text())["test_cases"]["generated"] >= LEAST, done.stdout
    assert "Traceback" not in depot.logs()
