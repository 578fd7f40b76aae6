"""Live updates of open pages: one event stream per page, none with queries of its own."""

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from typing import Literal
from uuid import UUID

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException

from app.api.dependencies import Depot, TheDepot
from app.api.events import LOOK_AT_KEY, ModelState, still
from app.console.lists import PER_PAGE
from app.console.pages import Pages
from app.console.progress import show
from app.console.session import Session, SessionRoute, TheSession, goes_on
from app.services import limits

router = APIRouter(include_in_schema=False, route_class=SessionRoute)

_STILL_HERE = b"event: still-here\ndata: -\n\n"
"""Sent at least every `LOOK_AT_KEY` seconds. An event, because scripts do not receive SSE comments."""
_SOONEST, _EACH = 500, 80
"""Milliseconds until a page loads its list anew, at least, and for each who watches: about 13 loads a second at most."""
_REMEMBERED = 2000
_TEMPLATE = {"row": "model_row.html", "page": "model_head.html"}
View = Literal["row", "page"]


@dataclass
class Fragments:
    """Page fragments, each rendered once for all of its watchers: operators have boxes to tick in rows."""

    pages: Pages
    root: str
    _made: dict[tuple[View, bool, UUID], tuple[ModelState, bytes]] = field(default_factory=dict)

    def event(self, view: View, model_id: UUID, state: ModelState, *, operator: bool) -> bytes:
        known = self._made.get((view, operator, model_id))
        if known is None or known[0] is not state:
            if len(self._made) >= _REMEMBERED:
                self._made.clear()
            known = self._made[view, operator, model_id] = state, self._event(view, model_id, state, operator)
        return known[1]

    def _event(self, view: View, model_id: UUID, state: ModelState, operator: bool) -> bytes:
        template = self.pages.template(_TEMPLATE[view])
        text = template.render(root=self.root, shown=show(state), id=model_id, operator=operator)
        lines = (line for line in text.splitlines() if line.strip())
        return f"event: model-{model_id}\n".encode() + b"".join(f"data: {line}\n".encode() for line in lines) + b"\n"


def install(app: FastAPI, prefix: str) -> None:
    """Keep the fragments for the application's lifetime."""
    app.state.fragments = Fragments(app.state.pages, prefix)


@router.get("/console/events")
async def events(
    request: Request, depot: TheDepot, session: TheSession, models: str, view: View = "row", totals: str = ""
) -> Response:
    """Stream an event `model-<id>` with its piece of the page at each change of a model; `signed-out` is the last.

    `still-here` comes with each, and every few seconds: a page that hears nothing says that its connection is lost.
    `list` comes as long as all models' totals are not those of which the page has the digest: it tells in how many
    milliseconds to load the list anew.
    """
    try:
        model_ids = [UUID(text) for text in models.split(",") if text]
    except ValueError:
        raise HTTPException(400, "'models' lists the ids of models.") from None
    if len(model_ids) > PER_PAGE:
        raise HTTPException(400, f"At most {PER_PAGE} models can be watched at once.")
    if session.key.limit:
        async with depot.database.read() as connection:
            model_ids = list(await limits.models(connection, session.key.limit, model_ids))
    fragments: Fragments = request.app.state.fragments
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        _stream(depot, session, fragments, view, model_ids, totals), media_type="text/event-stream", headers=headers
    )


async def _stream(
    depot: Depot, session: Session, fragments: Fragments, view: View, model_ids: list[UUID], totals: str
) -> AsyncIterator[bytes]:
    async with depot.broadcast.watch(*model_ids, totals=bool(totals)) as watcher:
        while await still(partial(goes_on, depot, session)):
            news = await watcher.changes(LOOK_AT_KEY)
            events = (fragments.event(view, *item, operator=session.operator) for item in news.items())
            has_changed = totals and depot.broadcast.digest not in {"", totals}
            yield b"".join(events) + (_reload(depot.broadcast.crowd) if has_changed else b"") + _STILL_HERE
    yield b"event: signed-out\ndata: -\n\n"


def _reload(crowd: int) -> bytes:
    """Return the event that has a page load its list anew: pages do so one after another."""
    wait = random.uniform(_SOONEST, max(2 * _SOONEST, _EACH * crowd))  # noqa: S311  # no secret
    return b"event: list\ndata: %d\n\n" % wait
