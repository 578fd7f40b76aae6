"""The storage: how full it is, and of what."""

from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from app.api.dependencies import TheDepot
from app.console.pages import page
from app.console.session import SessionRoute
from app.services import contents
from app.services.contents import Contents
from app.volume import Usage, VolumeAway

router = APIRouter(include_in_schema=False, route_class=SessionRoute, default_response_class=Response)

_LARGEST = 20


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the disk, in bytes; `left` and `width` are where it is in the picture, in percent."""

    name: str
    title: str
    size: int
    left: float
    width: float


@router.get("/console/storage")
async def show_storage(request: Request, depot: TheDepot) -> Response:
    async with depot.database.read() as connection:
        total = await depot.figures.contents.look(connection)
        largest = await contents.largest(connection, _LARGEST)
    usage, problem = None, ""
    try:
        usage = await depot.volume.look()
    except VolumeAway as error:
        problem = str(error)
    parts = _parts(usage, total) if usage else []
    return page(request, "storage.html", usage=usage, problem=problem, parts=parts, total=total, largest=largest)


def _parts(usage: Usage, total: Contents) -> list[Part]:
    left = usage.used
    sizes = []
    for name, title, size in (
        ("own", "Only in one model", total.own),
        ("shared", "Shared by several", total.shared),
        ("arriving", "Arriving", total.arriving),
    ):
        # Rows and disk tell of two moments, and a disk may pack: never more than there is.
        sizes.append((name, title, min(size, left)))
        left -= sizes[-1][2]
    sizes += [("other", "Other files", left), ("free", "Free", usage.free)]
    whole, parts, begin = max(usage.used + usage.free, 1), [], 0.0
    for name, title, size in sizes:
        width = size * 100 / whole
        parts.append(Part(name, title, size, round(begin, 3), round(width, 3)))
        begin += width
    return parts
