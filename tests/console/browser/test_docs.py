"""The API's documentation, which is a page too: whole without another server's help."""

from playwright.sync_api import expect

from tests.console.browser.views import Views


def test_the_documentation_shows_every_route_and_asks_no_other_server_for_anything(views: Views) -> None:
    view = views.open("/docs", key=None)
    expect(view.page.get_by_role("button", name="Fetch a model")).to_be_visible()
