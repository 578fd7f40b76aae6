"""The console's sessions: begin, look up, end, purge."""

from collections.abc import Collection

from sqlalchemy import delete, func, insert, select

from app.db.access_tables import SessionRow
from app.db.clock import moment, now
from app.db.deletes import delete_some
from app.db.inserts import INSERT
from app.db.session import Reader, Writer


async def begin(connection: Writer, session_id: str, key_id: str, *, lasts: float) -> None:
    """Begin a session of `lasts` seconds for the holder of a key."""
    await connection.execute(
        insert(SessionRow).values(id=session_id, key_id=key_id, created_at=now(), expires_at=now(lasts))
    )


async def begin_once(connection: Writer, session_id: str, *, lasts: float) -> bool:
    """Begin a session that is nobody's, to remember its id. Return False if it is known."""
    new = INSERT[connection.dialect.name](SessionRow).values(
        id=session_id, key_id="", created_at=now(), expires_at=now(lasts)
    )
    return bool((await connection.execute(new.on_conflict_do_nothing(index_elements=[SessionRow.id]))).rowcount == 1)


async def current(connection: Reader, session_ids: Collection[str]) -> set[str]:
    """Return the subset of `session_ids` that neither ended nor expired."""
    query = select(SessionRow.id).where(SessionRow.id.in_(session_ids), SessionRow.expires_at > moment())
    return set((await connection.execute(query)).scalars())


async def count(connection: Reader, key_id: str) -> int:
    """Return the number of browsers signed in with a key."""
    query = select(func.count()).where(SessionRow.key_id == key_id, SessionRow.expires_at > moment())
    return int((await connection.execute(query)).scalar_one())


async def end(connection: Writer, session_id: str) -> None:
    await connection.execute(delete(SessionRow).where(SessionRow.id == session_id))


async def end_all(connection: Writer, key_id: str) -> None:
    """End every session of a key, in all browsers."""
    await connection.execute(delete(SessionRow).where(SessionRow.key_id == key_id))


async def purge(connection: Writer, *, limit: int) -> int:
    """Delete at most `limit` expired sessions. Return their number."""
    return (await connection.execute(delete_some(SessionRow, SessionRow.expires_at < moment(), limit=limit))).rowcount
