"""Operations over HTTP."""

from fastapi import APIRouter
from fastapi.responses import Response

from app.api import schemas
from app.api.answers import json_bytes
from app.api.dependencies import ResourceId, TheDepot
from app.api.polling import PolledRoute
from app.http.errors import documented

router = APIRouter(tags=["operations"], route_class=PolledRoute)


@router.get(
    "/operation/{id}",
    operation_id="get-operation",
    summary="Look at an operation",
    response_class=Response,
    responses={200: {"model": schemas.Operation}, **documented(404, 503)},
)
async def get_operation(operation_id: ResourceId, depot: TheDepot) -> Response:
    """`pending` until the work is really over; poll it every few seconds."""
    return json_bytes(await depot.reads.operation(operation_id))
