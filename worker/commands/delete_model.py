"""delete-model: remove the files, then the row."""

import asyncio

import structlog

from app.db.transitions import end_operation
from app.domain.errors import Failed, Reason
from app.domain.repositories import select
from app.domain.states import OperationState
from app.services import models, updates
from app.services.models import branch_of
from app.services.rows import SelectedModel
from app.storage.base import Store, StoreAway
from app.storage.names import label_of
from worker.commands.work import Work
from worker.maintenance.marking import check_storage

log = structlog.get_logger()


async def run(work: Work) -> None:
    claim, context = work.claim, work.context
    async with context.database.read() as connection:
        model = await models.selection(connection, claim.resource_id)
        successor = await updates.successor(connection, model)
    await check_storage(context.database, context.storage)
    try:
        await asyncio.to_thread(_remove, context.storage, model, successor)
    except StoreAway:
        raise
    except OSError as error:
        message = f"The files can't be removed: {error.strerror}. Look at the storage, then delete the model again."
        raise Failed(Reason.FAULT, message) from error
    async with context.database.begin() as connection:
        await models.forget(connection, claim.resource_id)
        await end_operation(connection, claim.lease, OperationState.SUCCESS)
    log.info("model is deleted")


def _remove(storage: Store, model: SelectedModel, successor: SelectedModel | None) -> None:
    """Remove a model's files. By its branch's label engines find its `successor` from then on."""
    if model.follows:
        storage.unlink(model.id)  # that label, too
    storage.discard(model.id, label_of(model))
    if successor:
        branch = select(model.name, branch_of(model), model.include, model.exclude)
        storage.link(label_of(branch), successor.id)
