"""What every list has: a search in its address, chips with counts, columns to sort by, and pages."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from fastapi import Request

from app.console.forms import page_number

PER_PAGE = 50
_LONGEST = 200
"""Characters of a search."""


class Chip(NamedTuple):
    """A filter: the value in the address, the word for people, how many there are of it (None: not counted)."""

    value: str
    word: str
    number: int | None = None


class Listing:
    """One view of a list: what its address asks for. What makes no sense there is ignored.

    `fields` are the filters by name, with the values that each may have; any text without these. The first of `sorts`
    is the default. `anchor` is the id of the list on a page that begins with something else: its addresses lead there.
    `path` is that of the page, where the request asks for a part of it.
    """

    def __init__(
        self,
        request: Request,
        *,
        sorts: Sequence[str] = ("",),
        fields: Mapping[str, Sequence[str] | None] | None = None,
        anchor: str = "",
        path: str = "",
        per_page: int = PER_PAGE,
    ) -> None:
        asked = request.query_params
        self.path, self.anchor, self.per_page = path or request.url.path, anchor, per_page
        self.asked = {name: _value(asked.get(name, ""), allowed) for name, allowed in (fields or {}).items()}
        self.sort = asked.get("sort", "") if asked.get("sort") in sorts else sorts[0]
        self.before = asked.get("before", "")
        self._default = sorts[0]
        self.number, self.pages, self.found = page_number(asked.get("page", "")), 1, 0

    @property
    def is_filtered(self) -> bool:
        return any(self.asked.values())

    @property
    def offset(self) -> int:
        """The rows on the pages before this one."""
        return (self.number - 1) * self.per_page

    @property
    def last(self) -> int:
        """The number of the last row on this page."""
        return min(self.number * self.per_page, self.found)

    @property
    def here(self) -> str:
        """The address of this page."""
        return self.at(page=self.number if self.number > 1 else "", before=self.before)

    def count(self, found: int) -> None:
        """Note how many rows there are: the address may name a page after the last one."""
        self.found, self.pages = found, max(-(-found // self.per_page), 1)
        self.number = min(self.number, self.pages)

    def at(self, *, anchor: str | None = None, **other: Any) -> str:
        """Return the address of the first page with other filters or another order, or of another page.

        It leads to the list, or to another `anchor` of the page.
        """
        sort = {"sort": self.sort if self.sort != self._default else ""}
        query = urlencode({name: value for name, value in (self.asked | sort | other).items() if value})
        place = self.anchor if anchor is None else anchor
        return f"{self.path}{'?' if query else ''}{query}{'#' if place else ''}{place}"

    def sorted_by(self, column: str, *, falls: bool = False) -> str:
        """Return the address of the list in the order of a column, the largest first if it `falls`.

        If the list is in that order, return that of the reverse.
        """
        first, second = (f"-{column}", column) if falls else (column, f"-{column}")
        sort = second if self.sort == first else first
        return self.at(sort="" if sort == self._default else sort)


def _value(text: str, allowed: Sequence[str] | None) -> str:
    if allowed is not None:
        return text if text in allowed else ""
    return text.strip()[:_LONGEST].replace("\0", "")
