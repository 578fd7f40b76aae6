"""News for notifications: of what the key opens, from the moment of the first request on."""

from typing import Any

import pytest

from app.domain.errors import Reason
from tests.api.test_auth import make_key
from tests.console.conftest import Site, User


def ask(user: User, since: float | None = None) -> dict[str, Any]:
    answer = user.client.get("/console/news", params={} if since is None else {"since": since})
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    told: dict[str, Any] = answer.json()
    return told


def test_what_ended_since_is_told_once(site: Site) -> None:
    user = site.reader()
    begun = ask(user)
    assert begun["news"] == []
    ready = site.api.ready_model()
    failed = site.api.depot.create(site.api.name())
    site.api.fail(Reason.FORBIDDEN)
    told = ask(user, begun["since"])
    assert [(one["state"], one["address"]) for one in told["news"]] == [
        ("success", f"/console/models/{ready}"),
        ("failure", f"/console/models/{failed['reference']['id']}"),
    ]
    assert told["news"][1]["message"] == "The Hub has no such repository."
    assert told["news"][1]["id"] == failed["id"]
    assert ask(user, told["since"])["news"] == []


def test_a_limited_key_hears_of_its_models_only_and_a_stranger_of_nothing(site: Site) -> None:
    since = ask(site.user())["since"]
    ours, _ = site.api.ready_model(), site.api.ready_model()
    name = site.api.depot.model(ours)["name"]
    limited = site.user(*make_key(site.api, models=[name]))
    assert [one["name"] for one in ask(limited, since)["news"]] == [name]
    assert site.stranger().get("/console/news").status_code == 303


@pytest.mark.parametrize("since", ["nonsense", "nan", "inf", "-1e99", "1e300"])
def test_a_moment_that_makes_no_sense_is_refused(site: Site, since: str) -> None:
    assert site.user().client.get("/console/news", params={"since": since}).status_code == 400
