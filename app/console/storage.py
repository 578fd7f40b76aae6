"""The storage page: how full it is, and what fills it."""

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from app.api.dependencies import TheDepot
from app.console.lists import PER_PAGE, Listing
from app.console.pages import page
from app.console.session import SessionRoute, unlimited_only
from app.depot.volume import VolumeAway
from app.domain.states import ModelStatus
from app.services import contents, models
from app.services.contents import Contents
from app.storage.base import Space

router = APIRouter(include_in_schema=False, route_class=SessionRoute, default_response_class=Response)

_NARROWEST = 0.4
"""Minimum width of a non-empty part, in percent, so that it is visible."""
_SCARCE = 0.1
"""The part of the disk that is free below which the page warns."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a bar, in bytes; `left` and `width` are its place in the picture, in percent."""

    name: str
    title: str
    size: int
    left: float
    width: float


@router.get("/console/storage")
async def show_storage(request: Request, depot: TheDepot) -> Response:
    unlimited_only(request)
    listing = Listing(request, sorts=contents.SORTS, anchor="models")
    async with depot.database.read() as connection:
        content = await depot.figures.contents.look(connection)
        listing.count((await depot.figures.models.look(connection))[ModelStatus.READY].number)
        largest = await contents.largest(connection, PER_PAGE, offset=listing.offset, sort=listing.sort)
        known = await models.get_many(connection, [row.id for row in largest])
    usage, problem = Space(None, None), ""
    try:
        usage = await depot.volume.look()
    except VolumeAway as error:
        problem = str(error)
    if depot.quota and usage.free is None and not problem:
        used = content.listed + content.arriving
        usage = Space(used, max(depot.quota - used, 0))
    most = max((row.own + row.shared for row in largest), default=0)
    return page(
        request,
        "storage.html",
        problem=problem,
        usage=usage,
        scarce=usage.free is not None and usage.used is not None and usage.free < _SCARCE * (usage.used + usage.free),
        disk=_disk(usage.used, usage.free, content),
        content=content,
        links=depot.volume.links,
        as_it_is=_bar(content.listed, own=content.own, shared=content.shared, saved=content.saved),
        list=listing,
        known=known,
        largest=[(row, _bar(most, own=row.own, shared=row.shared)) for row in largest],
    )


def _disk(used: int | None, free: int | None, content: Contents) -> Sequence[Part]:
    """Return the disk's parts; none if its size is unknown. Rows and disk are read at two moments: cap at what is used."""
    if used is None or free is None:
        return []
    sizes, left = {}, used
    for name, size in (("own", content.own), ("shared", content.shared), ("arriving", content.arriving)):
        sizes[name] = min(size, left)
        left -= sizes[name]
    return _bar(used + free, **sizes, other=left, free=free)


def _bar(whole: int, **sizes: int) -> Sequence[Part]:
    widths = [max(size * 100 / max(whole, 1), _NARROWEST) if size else 0.0 for size in sizes.values()]
    shrunk = min(100 / max(sum(widths), 1), 1.0)
    parts, left = [], 0.0
    for (name, size), width in zip(sizes.items(), widths, strict=True):
        parts.append(Part(name, _TITLES[name], size, round(left, 3), round(width * shrunk, 3)))
        left += width * shrunk
    return parts


_TITLES = {
    "own": "Unique",
    "shared": "Shared",
    "saved": "Saved",
    "arriving": "Arriving",
    "other": "Other files",
    "free": "Free",
}
