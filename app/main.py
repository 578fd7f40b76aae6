"""Builds the API process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from app import queue
from app.api import deployments, errors, health, models, operations, zones
from app.api.bodies import BodyLimit
from app.api.dependencies import Depot
from app.api.events import Broadcast
from app.db.session import open_database
from app.queue import Doorbell
from app.sealing import Sealer
from app.settings import Settings, split_keys

_ROUTERS = (models.router, operations.router, deployments.router, zones.router)
MAX_BODY = 1_048_576
"""Bytes of a request's body."""


def build(settings: Settings) -> FastAPI:
    """The application. Nothing is opened before it starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        database = open_database(settings.database_url)
        doorbell = Doorbell(queue.connect(settings.redis_url))
        broadcast = Broadcast(database)
        app.state.depot = Depot(
            database=database,
            doorbell=doorbell,
            sealer=Sealer(split_keys(settings.secret_key)),
            broadcast=broadcast,
            address=settings.address,
            zone=settings.zone,
            operation_deadline=settings.operation_deadline,
        )
        looking = asyncio.create_task(broadcast.run())
        try:
            yield
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking
            await doorbell.close()
            await database.close()

    app = FastAPIOffline(
        redoc_url=None,
        title="Model Depot",
        description="Fetches AI models from Hugging Face once, verifies them, and keeps them where engines load them.",
        version="2.0.0",
        servers=[{"url": f"{settings.address}/v2"}],
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.add_middleware(BodyLimit, most=MAX_BODY)
    errors.install(app)
    for router in _ROUTERS:
        # What SDKs use as their base URL, and what the reference prints. The document lists it once.
        app.include_router(router, prefix="/v2", include_in_schema=False)
        app.include_router(router)
    app.include_router(health.router, include_in_schema=False)
    return app
