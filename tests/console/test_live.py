"""What changes while a page is looked at: the stream of events, and what it costs."""

import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx2
import pytest
from sqlalchemy import text

from app.db.session import Database
from tests.api.test_auth import SECONDS_TO_REVOKE, make_key
from tests.by_hand import plain, run
from tests.console.conftest import Site, User
from tests.processes import until

_WATCHERS = 30


class Listener:
    """Reads a stream until it ends or the test does."""

    def __init__(self, user: User, query: str) -> None:
        self.heard, self.ended = "", threading.Event()
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._listen, args=(user.client, query))
        self._thread.start()

    def leave(self) -> None:
        """At the next word; without waiting for it."""
        self._leave.set()

    def close(self) -> None:
        self.leave()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _listen(self, client: httpx2.Client, query: str) -> None:
        with client.stream("GET", f"/console/events?{query}", headers={"Accept": "text/event-stream"}) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            for piece in answer.iter_text():
                self.heard += piece
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
        assert re.search(r'data-digest="(\w+)"', page)[1] in head.heard  # type: ignore[index]
        site.api.carry_out()
        for heard in (row, head):
            until(lambda heard=heard: 'data-status="ready"' in heard.heard, lambda heard=heard: heard.heard)  # type: ignore[misc]
        user.send(f"/console/models/{model_id}/delete", sure="yes")
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


def test_a_list_is_told_to_load_anew_once_models_come_or_change(site: Site) -> None:
    user = site.user()
    totals = re.search(r"events\?totals=(\w+)", user.page("/console"))
    assert totals
    with listening(user, f"totals={totals[1]}&models=") as listener:
        until(lambda: listener.heard.count("still-here") >= 2, lambda: listener.heard)
        assert "event: list" not in listener.heard
        site.api.depot.create(site.api.name())
        until(lambda: re.search(r"event: list\ndata: \d+\n\n", listener.heard), lambda: listener.heard)
        site.api.carry_out()


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_however_many_watch_the_database_is_asked_no_more(site: Site) -> None:
    one, many = _asked_for(site, 1), _asked_for(site, _WATCHERS)
    print(f"transactions while a model is watched: {one} by one, {many} by {_WATCHERS}")
    assert one >= 2
    # One for each watcher, each time that its key is looked at, would be twice as many as there are watchers.
    assert many < one + _WATCHERS / 2


def test_a_stream_is_for_whoever_is_signed_in_and_of_no_more_than_a_page_of_models(site: Site) -> None:
    query = {"models": site.api.ready_model()}
    stranger = site.stranger().get("/console/events", params=query, headers={"Accept": "text/event-stream"})
    assert stranger.status_code == 401
    for models in ("x", ",".join([query["models"]] * 51)):
        assert site.user().client.get("/console/events", params={"models": models}).status_code == 400


def _asked_for(site: Site, watchers: int) -> int:
    """The transactions while so many watch one model that does not change, and their key is looked at twice."""
    user = site.user()
    model_id = site.api.ready_model()

    def quiet(listener: Listener, times: int) -> None:
        until(lambda: listener.heard.count("still-here") >= times, lambda: listener.heard)

    with ExitStack() as stack:
        listeners = [stack.enter_context(listening(user, f"totals=others&models={model_id}")) for _ in range(watchers)]
        for listener in listeners:
            quiet(listener, 1)
        before = _transactions(site)
        for listener in listeners:
            quiet(listener, 3)
        asked = _transactions(site) - before
        for listener in listeners:
            listener.leave()
    return asked


def _transactions(site: Site) -> int:
    """How many the database has counted."""

    async def ask(database: Database) -> int:
        async with database.read() as connection:
            query = text("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
            return int((await plain(connection).execute(query)).scalar_one())

    count: int = run(site.api.database_url, ask)
    return count
