"""Whether a download fits on the storage."""

from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.errors import Failed, Reason
from app.services import models
from worker.commands.work import Work


async def check_room(connection: AsyncConnection, work: Work, missing: int, free: int) -> None:
    """Raise `Failed` unless `missing` bytes fit into the `free` ones, beside what other downloads still need.

    For the transaction that says what this download still needs.
    """
    others = await models.still_to_come(connection, without=work.claim.resource_id)
    spare = max(free - work.tools.reserve - others, 0)
    if missing > spare:
        message = (
            f"The storage has too little space: {missing} bytes are needed and {spare} are free "
            f"({free} on the disk, less a reserve of {work.tools.reserve} and {others} that other downloads "
            "still need). Free some space, then send the request again."
        )
        raise Failed(Reason.FAULT, message)
