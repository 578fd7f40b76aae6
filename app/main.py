"""Builds the API process."""

import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from app import telemetry
from app.api import auth, deployments, docs, health, hosted, hub, keys, models, operations, polling, zones
from app.api import metrics as api_metrics
from app.api.dependencies import Depot
from app.api.events import Broadcast
from app.api.lists import Lists
from app.api.reads import Reads
from app.console import site
from app.db.revisions import revisions
from app.db.session import Database, open_database
from app.depot.arrivals import Arrivals
from app.depot.batching import Creates
from app.depot.fetching import Fetching
from app.depot.figures import Figures
from app.depot.lookups import Lookups
from app.depot.metrics import ApiMetrics, StoreMetrics
from app.depot.pulls import Pulls
from app.depot.readiness import Readiness
from app.depot.sessions import Sessions
from app.depot.status import StatusServer
from app.depot.volume import Volume
from app.domain.keys import limit_to
from app.http import errors, middleware
from app.http.accel import Accel
from app.http.authenticator import Authenticator
from app.http.bodies import BodyLimit
from app.http.keyring import Keyring
from app.http.prefix import Prefix
from app.http.throttle import Throttle
from app.hub_api import routes as hub_routes
from app.hub_api.calls import HubApi
from app.hub_api.metrics import HubMetrics
from app.hub_api.pull_through import PullThrough
from app.hub_api.snapshots import Snapshots
from app.sealing import Sealer
from app.settings import Settings, split, split_keys
from app.storage import open_store
from app.storage.base import Store
from app.tasks import beside
from app.wakeup import Wakeup, connect

_ROUTERS = (
    models.polled,
    hub.router,
    models.router,
    operations.router,
    deployments.router,
    hosted.router,
    keys.router,
    zones.router,
)
MAX_BODY = 1_048_576
"""The most bytes of a request's body."""
_READERS = 32
"""Threads that read files: so many requests to an object store are under way at most."""


def build(settings: Settings, *, watched_at: socket.socket | None = None) -> FastAPI:
    """Return the application. It opens nothing before it starts. `watched_at` is the socket for monitoring."""
    # It connects at the first query.
    database = open_database(
        settings.database_url, pool_size=settings.database_pool, statement_timeout=settings.statement_timeout
    )
    asked = StoreMetrics()
    store = open_store(settings.storage, s3=settings.s3, observe=asked.asked)
    volume = Volume(store, writes=False, database=database)
    figures = Figures()
    metrics = ApiMetrics(volume, database, figures, asked)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with (
            _opened(settings, database, volume, figures, metrics) as app.state.depot,
            _opened_hub_api(settings, app.state.depot, store) as app.state.hub_api,
        ):
            depot: Depot = app.state.depot
            async with StatusServer(depot.readiness, metrics).listening(watched_at):
                yield

    app = FastAPIOffline(
        docs_url=None,
        redoc_url=None,
        title="Model Depot",
        description="Fetches AI models from Hugging Face once, verifies them, and keeps them where engines load them.",
        version=version("modeldepot"),
        servers=[{"url": f"{settings.address}/v2"}],
        root_path_in_servers=False,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    _install(app, settings)
    # In a text log, a line per request would hide what people look for.
    middleware.install(app, metrics, log_all=settings.verbose or telemetry.is_json(settings.log_format))
    return app


@asynccontextmanager
async def _opened(
    settings: Settings, database: Database, volume: Volume, figures: Figures, metrics: ApiMetrics
) -> AsyncIterator[Depot]:
    """Yield what the routes use, while its background tasks run; then close all of it, the database too."""
    sealer = Sealer(split_keys(settings.secret_key))
    keyring = Keyring(database, sealer)
    wakeup, asking = Wakeup(connect(settings.redis_url)), connect(settings.redis_url)
    depot = Depot(
        database=database,
        reads=Reads(database),
        lists=Lists(database),
        fetching=Fetching(Creates(database), wakeup, sealer, settings.operation_deadline),
        wakeup=wakeup,
        lookups=Lookups(asking, sealer),
        arrivals=Arrivals(asking),
        sealer=sealer,
        authenticator=Authenticator(keyring, settings.prefix, anonymous_pull=settings.anonymous_pull),
        sessions=Sessions(database),
        broadcast=Broadcast(database, figures),
        readiness=Readiness(database, revisions(), wakeup, volume),
        metrics=metrics,
        volume=volume,
        figures=figures,
        pulls=Pulls(database),
        plans=Throttle(burst=60, per_second=2),
        searches=Throttle(burst=20, per_second=1) if settings.hub_search else None,
        address=settings.address,
        hub=settings.hub_endpoint,
        zone=settings.zone,
        operation_deadline=settings.operation_deadline,
        quota=settings.quota,
        s3_endpoint=settings.s3_endpoint,
    )
    try:
        async with beside(depot.broadcast.run()), beside(keyring.run()), beside(depot.pulls.run()):
            yield depot
    finally:
        await depot.pulls.flush()
        for opened in (depot.lookups, wakeup, depot.reads, database):
            await opened.close()


@asynccontextmanager
async def _opened_hub_api(settings: Settings, depot: Depot, store: Store) -> AsyncIterator[HubApi]:
    snapshots = Snapshots(depot.database)
    threads = ThreadPoolExecutor(_READERS, "files")
    try:
        yield HubApi(
            depot.authenticator,
            snapshots,
            depot.sealer,
            store,
            threads,
            settings.files_redirect,
            depot.pulls,
            HubMetrics(depot.metrics.registry),
            _pull_through(settings, depot),
        )
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        await snapshots.close()


def _pull_through(settings: Settings, depot: Depot) -> PullThrough:
    return PullThrough(
        names=limit_to(split(settings.pull_through_names)) if settings.pull_through else None,
        token=settings.hub_token.get_secret_value(),
        fetching=depot.fetching,
    )


def _install(app: FastAPI, settings: Settings) -> None:
    """Add all routes, the limits of requests and the shape of errors."""
    app.add_middleware(BodyLimit, most=MAX_BODY)
    if settings.files_accel:
        app.add_middleware(Accel, root=Path(settings.storage), prefix=settings.files_accel)
    if settings.prefix:
        app.add_middleware(Prefix, prefix=settings.prefix)
    errors.install(app)
    for router in _ROUTERS:
        # SDKs use /v2 as their base URL; the reference prints paths without. The document lists each once.
        app.include_router(router, prefix="/v2", include_in_schema=False)
        app.include_router(router)
    for own in (health.router, api_metrics.router):
        app.include_router(own, include_in_schema=False)
    site.install(app, settings.prefix)
    docs.install(app)
    hub_routes.install(app)
    polling.install(app, settings.prefix)
    auth.describe(app)
