"""Links that sign in once: `modeldepot up` prints one for whoever sits at its terminal.

A link holds no secret of a key: it names the key, sealed with the depot's own.
"""

import hashlib
import json
import secrets
import time
from dataclasses import asdict, dataclass
from urllib.parse import quote

from app.db.session import Writer
from app.sealing import CannotOpen, Sealer
from app.services import sessions

LASTS = 3600
"""Seconds."""
_PURPOSE = "sign-in link"


@dataclass(frozen=True, slots=True)
class Link:
    """Whom a link signs in. `expires` is in seconds since 1970; `mark` tells two links apart."""

    key_id: str
    expires: float
    mark: str


def new(sealer: Sealer, address: str, key_id: str) -> str:
    """Return a link for the console at `address`, as clients see it."""
    link = Link(key_id, time.time() + LASTS, secrets.token_urlsafe(16))
    sealed = sealer.seal(json.dumps(asdict(link)), belongs_to=_PURPOSE)
    return f"{address}/console/sign-in?link={quote(sealed, safe='')}"


def opened(sealer: Sealer, text: str) -> Link | None:
    """Return what a link holds; None for one that is not ours or has expired."""
    try:
        link = Link(**json.loads(sealer.open(text, belongs_to=_PURPOSE)))
    except (CannotOpen, TypeError):  # not sealed by us, or by a version with other fields
        return None
    return link if time.time() < link.expires else None


async def use(connection: Writer, link: Link) -> bool:
    """Use a link up. Return False if it was used before."""
    mark = hashlib.sha256(f"{_PURPOSE} {link.mark}".encode()).hexdigest()
    # As the session of no key: so it stays until the link has expired, also when the key signs out everywhere.
    return await sessions.begin_once(connection, mark, lasts=LASTS)
