"""What changes while a page is looked at: the stream of events, and what it costs."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2

from tests.app.api.test_auth import SECONDS_TO_REVOKE, make_key
from tests.console.conftest import Site, User
from tests.processes import until


class Listener:
    """Reads a stream until it ends or the test does."""

    def __init__(self, user: User, query: str) -> None:
        self.heard, self.ended = "", threading.Event()
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._listen, args=(user.client, query))
        self._thread.start()

    def close(self) -> None:
        self._leave.set()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _listen(self, client: httpx2.Client, query: str) -> None:
        with client.stream("GET", f"/console/events?{query}", headers={"Accept": "text/event-stream"}) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            for text in answer.iter_text():
                self.heard += text
                if self._leave.is_set():
                    break
        self.ended.set()


@contextmanager
def listening(user: User, query: str) -> Iterator[Listener]:
    listener = Listener(user, query)
    try:
        yield listener
    finally:
        listener.close()


def test_a_row_and_a_page_change_as_their_model_does(site: Site) -> None:
    operation = site.api.depot.create(site.api.name())
    model_id, user = operation["reference"]["id"], site.user()
    page = user.page(f"/console/models/{model_id}")
    with listening(user, f"models={model_id}") as row, listening(site.user(), f"view=page&models={model_id}") as head:
        for heard, tag in ((row, "tr"), (head, "section")):
            until(lambda heard=heard: "creating" in heard.heard, lambda heard=heard: heard.heard)  # type: ignore[misc]
            assert f"event: model-{model_id}\ndata: <{tag} " in heard.heard
        # What a page shows already is not shown anew.
        assert re.search(r'data-seen="(\w+)"', page)[1] in head.heard  # type: ignore[index]
        site.api.carry_out()
        for heard in (row, head):
            until(lambda heard=heard: 'data-status="ready"' in heard.heard, lambda heard=heard: heard.heard)  # type: ignore[misc]
        user.send(f"/console/models/{model_id}/delete")
        until(lambda: 'data-status="deleting"' in row.heard, lambda: row.heard)
        site.api.carry_out()
        until(lambda: "<!-- gone -->" in row.heard, lambda: row.heard)
        until(lambda: 'data-status="gone"' in head.heard, lambda: head.heard)


def test_the_stream_of_a_revoked_key_ends(site: Site) -> None:
    key, secret = make_key(site.api)
    model_id = site.api.ready_model()
    with listening(site.user(key, secret), f"models={model_id}") as listener:
        until(lambda: "ready" in listener.heard, lambda: listener.heard)
        site.user().send(f"/console/keys/{key}/revoke")
        until(listener.ended.is_set, lambda: listener.heard, SECONDS_TO_REVOKE + 1)
        assert listener.heard.endswith("event: signed-out\ndata: -\n\n")


def test_a_stream_is_for_whoever_is_signed_in_and_of_no_more_than_a_page_of_models(site: Site) -> None:
    query = {"models": site.api.ready_model()}
    stranger = site.stranger().get("/console/events", params=query, headers={"Accept": "text/event-stream"})
    assert stranger.status_code == 401
    for models in ("x", ",".join([query["models"]] * 51)):
        assert site.user().client.get("/console/events", params={"models": models}).status_code == 400
