"""API keys: create, list, revoke and look up; and reseal every sealed secret.

A limited key's secret is sealed for the key together with its limit, so that neither an older version, which does not
know limits, nor who changes the row opens more with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, func, literal_column, null, or_, select, update

from app.db.access_tables import KeyRow
from app.db.clock import moment, now
from app.db.inserts import INSERT
from app.db.session import Reader, Writer
from app.db.tables import OperationRow
from app.domain.errors import BadRequest, NotFound
from app.domain.keys import UNLIMITED, NameLimit, Role, identity, new_id, new_secret
from app.sealing import CannotOpen, Sealer
from app.services import sessions
from app.services.access_rows import KeyRecord, ListedKey, UsableKey

_TOUCH_EVERY = 60.0
"""The least seconds between two updates of a key's last use."""
_USABLE = and_(KeyRow.revoked_at.is_(None), or_(KeyRow.expires_at.is_(None), KeyRow.expires_at > now()))
COLUMNS: tuple[Any, ...] = (
    KeyRow.id,
    KeyRow.name,
    KeyRow.role,
    KeyRow.created_at,
    KeyRow.last_used_at,
    KeyRow.expires_at,
    KeyRow.revoked_at,
    KeyRow.models,
    KeyRow.auto_deployment,
)
"""The columns of a key that may be shown."""


class Usability(StrEnum):
    """Whether a key may be used."""

    USABLE = "usable"
    EXPIRED = "expired"
    REVOKED = "revoked"


_STATUS = case(
    (KeyRow.revoked_at.is_not(None), literal_column("'revoked'")),
    (KeyRow.expires_at <= moment(), literal_column("'expired'")),
    else_=literal_column("'usable'"),
)
_SORT_COLUMNS: Mapping[str, Any] = {
    "created": KeyRow.created_at,
    "name": func.lower(KeyRow.name),
    "status": _STATUS,
    "role": KeyRow.role,
    "models": func.coalesce(func.lower(KeyRow.models), ""),
    "used": KeyRow.last_used_at,
    "expires": KeyRow.expires_at,
}
SORTS = ("-created", *_SORT_COLUMNS, *(f"-{name}" for name in _SORT_COLUMNS if name != "created"))
"""The sort keys of a page; with a `-`, in descending order. A key of all models comes before others."""


class Kept(Enum):
    """The result of `keep`."""

    MADE = auto()
    REPLACED = auto()
    """It existed with another secret."""
    THERE = auto()
    REVOKED = auto()


async def create(
    connection: Writer,
    sealer: Sealer,
    *,
    name: str,
    role: Role,
    expires: float | None,
    limit: NameLimit = UNLIMITED,
    auto_deployment: bool = False,
) -> tuple[str, str]:
    """Create a key. Return its id and secret, which can't be shown again. `expires` is in seconds from now.

    With `auto_deployment`, pulling a model with it declares a deployment of the key's name.
    """
    key_id, secret = new_id(), new_secret()
    given = {"name": name, "role": role, "auto_deployment": auto_deployment}
    await _insert(connection, sealer, key_id, secret, expires=expires, models=limit.text, **given)
    return key_id, secret


async def keep(connection: Writer, sealer: Sealer, key_id: str, secret: str, *, name: str) -> Kept:
    """Create an operator's key with this id and secret, or set its secret. A revoked key stays revoked."""
    query = select(KeyRow.sealed_secret, KeyRow.revoked_at, KeyRow.models).where(KeyRow.id == key_id).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        await _insert(connection, sealer, key_id, secret, name=name, role=Role.OPERATOR, expires=None, models=None)
        return Kept.MADE
    if row.revoked_at is not None:
        return Kept.REVOKED
    belongs_to = sealed_for(key_id, row.models)
    if _opened(sealer, row.sealed_secret, belongs_to) != secret:
        sealed = sealer.seal(secret, belongs_to=belongs_to)
        await connection.execute(update(KeyRow).where(KeyRow.id == key_id).values(sealed_secret=sealed))
        return Kept.REPLACED
    return Kept.THERE


async def list_all(connection: Reader) -> Sequence[KeyRecord]:
    """Return every key, including revoked ones, oldest first, without the secrets."""
    query = select(*COLUMNS).order_by(KeyRow.created_at, KeyRow.id)
    return cast("Sequence[KeyRecord]", (await connection.execute(query)).all())


@dataclass(frozen=True, slots=True)
class Search:
    """Which keys to find: `text` is a part of their name or id. Empty: any."""

    text: str = ""
    status: Usability | None = None
    role: Role | None = None


async def page(
    connection: Reader, search: Search, *, limit: int, offset: int, sort: str = SORTS[0]
) -> Sequence[ListedKey]:
    """Return at most `limit` keys that match `search` without the first `offset`, sorted, each with its `status`.

    By default the newest come first, and those that can't be used any more last.
    """
    query = select(*COLUMNS, _STATUS.label("status")).where(*_matching(search.text))
    if search.status is not None:
        query = query.where(_STATUS.in_((search.status,)))
    if search.role is not None:
        query = query.where(KeyRow.role == search.role)
    column = _SORT_COLUMNS[sort.removeprefix("-")]
    first = [KeyRow.revoked_at.is_not(None)] if sort == SORTS[0] else []
    order = [column.desc(), KeyRow.id.desc()] if sort.startswith("-") else [column.asc(), KeyRow.id.asc()]
    query = query.order_by(*first, order[0].nulls_last(), order[1])
    return cast("Sequence[ListedKey]", (await connection.execute(query.limit(limit).offset(offset))).all())


async def counts(connection: Reader, text: str = "") -> Mapping[tuple[Usability, Role], int]:
    """Return the number of keys of each status and role that `page` finds by `text`."""
    each = select(_STATUS.label("status"), KeyRow.role).where(*_matching(text)).subquery()
    query = select(each.c.status, each.c.role, func.count()).group_by(each.c.status, each.c.role)
    return {(Usability(status), role): number for status, role, number in (await connection.execute(query)).all()}


async def get_many(connection: Reader, key_ids: Sequence[str]) -> Sequence[KeyRecord]:
    """Return the existing keys of `key_ids`, revoked or not."""
    query = select(*COLUMNS).where(KeyRow.id.in_(key_ids))
    return cast("Sequence[KeyRecord]", (await connection.execute(query)).all())


async def get(connection: Reader, key_id: str) -> KeyRecord:
    """Return a key, revoked or not. Raises `NotFound`."""
    row = (await connection.execute(select(*COLUMNS).where(KeyRow.id == key_id))).one_or_none()
    if row is None:
        raise NotFound(f"There is no key {key_id}: the list of keys shows those there are.")
    return cast("KeyRecord", row)


async def identified(connection: Reader, identifier: UUID) -> KeyRecord:
    """Return the key with that UUID, if it is not revoked. Raises `NotFound`."""
    # The UUID is computed from the id and not stored: a search among 10,000 keys takes 20 ms.
    key_ids = (await connection.execute(select(KeyRow.id).where(KeyRow.revoked_at.is_(None)))).scalars()
    key_id = next((key_id for key_id in key_ids if identity(key_id) == identifier), None)
    if key_id is None:
        raise NotFound(f"There is no key {identifier} that is not revoked: the list of keys shows those there are.")
    return await get(connection, key_id)


async def revoke(connection: Writer, key_id: str) -> str:
    """Revoke a key, end its console sessions, and return its name. Raises `NotFound`."""
    statement = update(KeyRow).where(KeyRow.id == key_id, KeyRow.revoked_at.is_(None)).values(revoked_at=now())
    name: str | None = (await connection.execute(statement.returning(KeyRow.name))).scalar_one_or_none()
    if name is None:
        raise NotFound(f"There is no key {key_id} that is not revoked yet. `modeldepot key list` shows them.")
    await sessions.end_all(connection, key_id)
    return name


async def usable(connection: Reader, key_id: str) -> UsableKey | None:
    """Return a key with its sealed secret, or `None` if it is unknown, revoked or expired."""
    columns: tuple[Any, ...] = (
        KeyRow.name,
        KeyRow.role,
        KeyRow.sealed_secret,
        KeyRow.models,
        KeyRow.auto_deployment,
    )
    query = select(*columns).where(KeyRow.id == key_id, _USABLE)
    return cast("UsableKey | None", (await connection.execute(query)).one_or_none())


async def check_usable(connection: Reader, key_id: str) -> None:
    """Raise `BadRequest` unless it is the id of a key that is neither revoked nor expired."""
    if await usable(connection, key_id) is None:
        raise BadRequest(
            "'key' takes the id of a key that is neither revoked nor expired: `modeldepot key list` shows them.",
            field="key",
        )


async def touch(connection: Writer, key_ids: Sequence[str]) -> None:
    """Update the last use of keys, unless it was updated less than `_TOUCH_EVERY` ago."""
    stale = or_(KeyRow.last_used_at.is_(None), KeyRow.last_used_at < now(-_TOUCH_EVERY))
    await connection.execute(update(KeyRow).where(KeyRow.id.in_(key_ids), stale).values(last_used_at=now()))


async def unopenable(connection: Reader, sealer: Sealer) -> tuple[list[str], int]:
    """Return the ids of usable keys whose secret none of our secret keys opens, and the number of all usable keys."""
    rows = (await connection.execute(select(KeyRow.id, KeyRow.sealed_secret, KeyRow.models).where(_USABLE))).all()
    opened = {row.id: _opened(sealer, row.sealed_secret, sealed_for(row.id, row.models)) for row in rows}
    return [key_id for key_id, secret in opened.items() if secret is None], len(rows)


async def reseal(connection: Writer, sealer: Sealer) -> tuple[int, list[str]]:
    """Seal every key's secret and every pending Hub token with the first secret key.

    Return how many were sealed, and what could not be opened.
    """
    sealed, closed = 0, []
    columns: tuple[tuple[Any, Any, Any, str], ...] = (
        (KeyRow.id, KeyRow.sealed_secret, KeyRow.models, "key"),
        (OperationRow.id, OperationRow.sealed_token, null(), "operation"),
    )
    for id_column, column, models, kind in columns:
        query = select(id_column, column, models).where(column.is_not(None)).with_for_update()
        for owner, text, patterns in (await connection.execute(query)).all():
            belongs_to = sealed_for(str(owner), patterns)
            secret = _opened(sealer, text, belongs_to)
            if secret is None:
                closed.append(f"{kind} {owner}")
                continue
            again = sealer.seal(secret, belongs_to=belongs_to)
            await connection.execute(
                update(id_column.class_).where(id_column == owner, column == text).values({column.key: again})
            )
            sealed += 1
    return sealed, closed


def sealed_for(owner: str, models: str | None) -> str:
    """Return what a secret belongs to when it is sealed: its owner, with the patterns that the owner is limited to."""
    return f"{owner} {models}" if models else owner


def _matching(text: str) -> list[ColumnElement[bool]]:
    columns = (KeyRow.name, KeyRow.id)
    return [or_(*(column.icontains(text, autoescape=True) for column in columns))] if text else []


def _opened(sealer: Sealer, sealed: str, belongs_to: str) -> str | None:
    try:
        return sealer.open(sealed, belongs_to=belongs_to)
    except CannotOpen:
        return None


async def _insert(
    connection: Writer,
    sealer: Sealer,
    key_id: str,
    secret: str,
    *,
    expires: float | None,
    models: str | None,
    **values: Any,
) -> None:
    sealed = sealer.seal(secret, belongs_to=sealed_for(key_id, models))
    # Two API processes that start at once may both create the same key.
    insert = INSERT[connection.dialect.name]
    await connection.execute(
        insert(KeyRow)
        .on_conflict_do_nothing(index_elements=[KeyRow.id])
        .values(
            id=key_id,
            sealed_secret=sealed,
            models=models,
            created_at=now(),
            expires_at=None if expires is None else now(expires),
            **values,
        )
    )
