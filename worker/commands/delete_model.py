"""delete-model: remove the files, then the row."""

import asyncio

import structlog

from app.db.transitions import end_operation
from app.domain.errors import Failed, Reason
from app.domain.states import OperationState
from app.services import models
from app.storage.base import StoreAway
from app.storage.names import label_of
from worker.commands.work import Work
from worker.maintenance.marking import check_storage

log = structlog.get_logger()


async def run(work: Work) -> None:
    claim, context = work.claim, work.context
    async with context.database.read() as connection:
        model = await models.selection(connection, claim.resource_id)
    await check_storage(context.database, context.storage)
    name = label_of(model)
    try:
        await asyncio.to_thread(context.storage.discard, claim.resource_id, name)
    except StoreAway:
        raise
    except OSError as error:
        message = f"The files can't be removed: {error.strerror}. Look at the storage, then delete the model again."
        raise Failed(Reason.FAULT, message) from error
    async with context.database.begin() as connection:
        await models.forget(connection, claim.resource_id)
        await end_operation(connection, claim.lease, OperationState.SUCCESS)
    log.info("model is deleted")
