"""Adds the console to an application."""

from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException

from app.console import (
    activity,
    adding,
    assets,
    audit,
    bulk,
    catalogue,
    deployments,
    details,
    keys,
    live,
    models,
    news,
    pages,
    sign_in,
    storage,
    updates,
    workers,
)
from app.console.session import SessionRoute

_ROUTERS = (
    sign_in.front_door,
    sign_in.router,
    sign_in.signed_in,
    assets.router,
    live.router,
    catalogue.router,
    # Before a model's page: its path would match.
    bulk.router,
    adding.router,
    details.router,
    models.router,
    updates.router,
    deployments.router,
    activity.router,
    news.router,
    storage.router,
    workers.router,
    keys.router,
    audit.router,
)


def install(app: FastAPI, prefix: str) -> None:
    """Add the console below /console; `/` redirects browsers there. `prefix` is where clients see the application."""
    pages.install(app)
    live.install(app, prefix)
    details.install(app)
    for router in _ROUTERS:
        app.include_router(router, include_in_schema=False)
    rest = APIRouter(route_class=SessionRoute)

    @rest.get("/console/{path:path}")
    async def nothing() -> None:
        raise HTTPException(404, "There is no such page. The menu leads to those that there are.")

    app.include_router(rest, include_in_schema=False)
