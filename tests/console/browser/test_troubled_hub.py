"""The add page while the Hub stalls, is away, limits the rate or answers what it should not: said in time, no dead end."""

import json
import re
from itertools import count

import pytest
from playwright.sync_api import expect

from tests.console.browser.conftest import Served
from tests.console.browser.views import Views
from tests.fakehub.hub import Fault

_SOON = 20_000
"""Milliseconds until the page has to say it: 10 seconds by the depot's own clock, and a busy machine's delay."""
_UNEXPECTED = "answered something unexpected"
_OF_A_STRANGER = json.dumps({"items": [7, None]}).encode()
_TROUBLES = {
    "stalls": (Fault("stall", on="any", after_bytes=None, times=None), r"did not answer within \d+ seconds"),
    "hangs up": (Fault("drop", on="any", after_bytes=None, times=None), "can't be reached"),
    "is down": (Fault("status", on="any", status=503, times=None), "answered 503"),
    "limits the rate": (Fault("status", on="any", status=429, times=None), "limits our rate"),
    "sends a web page": (Fault("rewrite", on="any", rewrite=lambda _: b"<html>Sign in", times=None), _UNEXPECTED),
    "sends another shape": (Fault("rewrite", on="any", rewrite=lambda _: _OF_A_STRANGER, times=None), _UNEXPECTED),
}
_ASKING = re.compile("htmx-request")
_numbers = count(1)


@pytest.mark.parametrize("trouble", _TROUBLES)
def test_what_the_hub_does_not_tell_is_said_in_time_and_the_page_goes_on(
    served: Served, views: Views, trouble: str
) -> None:
    fault, said = _TROUBLES[trouble]
    planned, searched = _repository(served), _repository(served)
    words = searched.partition("/")[2]
    page = views.open("/console/models/new").page
    box, matches, unmatched = (page.locator(f"#{part}") for part in ("name", "matches", "unmatched"))
    served.hub.misbehave(fault)
    try:
        box.fill(planned)
        expect(page.locator("#plan .alert")).to_have_text(re.compile(said), timeout=_SOON)
        box.fill(f"{words} x")
        expect(unmatched).to_have_text(re.compile(said), timeout=_SOON)
        expect(page.get_by_role("button", name="Download")).to_be_enabled()
    finally:
        served.hub.behave()
    box.fill(words)
    matches.locator("[data-choose]").click()
    expect(page.locator(f"[data-plan='{searched}']")).to_contain_text("It fits")
    expect(page.locator("#plan .alert")).to_have_count(0)
    expect(page.locator("#asking")).not_to_have_class(_ASKING)


def test_what_failed_is_asked_again_at_a_press_and_a_token_helps_against_a_limited_rate(
    served: Served, views: Views
) -> None:
    name = _repository(served)
    view = views.open("/console/models/new")
    page = view.page
    served.hub.misbehave(Fault("status", on="any", status=429, times=None, retry_after=60))
    try:
        page.locator("#name").fill(name)
        expect(page.locator("#plan .alert")).to_contain_text("limits our rate", timeout=_SOON)
        expect(page.locator("#token")).to_be_visible()
        assert view.axe() == []
    finally:
        served.hub.behave()
    planned = page.locator(f"[data-plan='{name}']")
    while not planned.count():  # an answer is good for some seconds
        page.get_by_role("button", name="Try again").click()
        expect(page.locator("#asking")).not_to_have_class(_ASKING)


def test_a_model_can_be_added_while_the_page_waits_for_the_hub(served: Served, views: Views) -> None:
    name = _repository(served)
    served.hub.misbehave(Fault("stall", on="any", after_bytes=None, times=None))
    try:
        page = views.open("/console/models/new").page
        page.locator("#name").fill(name)
        expect(page.locator("#asking")).to_have_class(_ASKING)
        page.get_by_role("button", name="Download").click()
        expect(page.locator("#live")).to_have_attribute("data-status", re.compile("creating|downloading"))
    finally:
        served.hub.behave()
    served.depot.client.delete(f"/ai/model/{page.url.rpartition('/')[2]}").raise_for_status()


def _repository(served: Served) -> str:
    """Add one that no other test asks for: what was answered lately is reused."""
    name = f"acme/troubled{next(_numbers):02}"
    served.hub.add(name, {"config.json": b"{}"})
    return name
