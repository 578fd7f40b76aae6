"""The only zone: this server. Clients look up their endpoint here before they have credentials."""

from fastapi import APIRouter
from fastapi.responses import Response

from app.api import schemas
from app.api.answers import json_answer
from app.api.dependencies import TheDepot

router = APIRouter(tags=["zones"])


@router.get(
    "/zone",
    operation_id="list-zones",
    summary="List the zones",
    response_class=Response,
    responses={200: {"model": schemas.ZoneList}},
)
async def list_zones(depot: TheDepot) -> Response:
    """One zone: this server."""
    zone = schemas.Zone(name=depot.zone, api_endpoint=f"{depot.address}/v2", sos_endpoint=depot.address)
    return json_answer(schemas.ZONES, {"zones": [zone]})
