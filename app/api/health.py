"""Whether this process is alive, and whether it has what it needs."""

from http import HTTPStatus

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from app.api.dependencies import TheDepot
from app.depot.readiness import Status

router = APIRouter(tags=["health"])


@router.get("/healthz", operation_id="get-health", summary="Whether the API is alive")
async def healthz() -> dict[str, str]:
    """Answers as long as the process does; asks nothing of the database."""
    return {"status": "ok"}


@router.get("/readyz", operation_id="get-readiness", summary="Whether the API has what it needs")
async def readyz(depot: TheDepot) -> JSONResponse:
    """503 when something that it needs is missing. Without Redis it works, only slower: `degraded`."""
    status, report = await depot.readiness.report()
    return JSONResponse(report, HTTPStatus.SERVICE_UNAVAILABLE if status is Status.UNAVAILABLE else HTTPStatus.OK)
