"""The API's metrics at its public port. They reveal a depot's use, so they need a key: see app/depot/status.py."""

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST

from app.api.auth import KeyedRoute
from app.api.dependencies import TheDepot

router = APIRouter(tags=["health"], route_class=KeyedRoute)


@router.get("/metrics", operation_id="get-metrics", summary="Figures for Prometheus", response_class=Response)
async def metrics(depot: TheDepot) -> Response:
    return Response(await depot.metrics.scrape(depot.readiness), media_type=CONTENT_TYPE_LATEST)
