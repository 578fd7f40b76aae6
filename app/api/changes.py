"""What a caller may change, whichever way in was taken: each change with its audit, and the wake-up that makes it soon."""

from typing import Any
from uuid import UUID, uuid4

import structlog
from sqlalchemy import Row

from app.api import schemas
from app.api.dependencies import Depot
from app.db.errors import DatabaseUnreachable
from app.depot.volume import VolumeAway
from app.domain.commands import Command
from app.domain.errors import Conflict, NotReady
from app.domain.keys import Role
from app.domain.repositories import select
from app.services import audit, deployments, keys, models, operations
from app.services.audit import Act

log = structlog.get_logger()


async def create_model(depot: Depot, act: Act, body: schemas.CreateModel) -> Row[Any]:
    """The operation that fetches a model, or that retries one in `error`."""
    selection = select(
        body.name, "main" if body.revision is None else body.revision, body.include or (), body.exclude or ()
    )
    act.resource_name = selection.name
    operation_id = uuid4()
    token = body.huggingface_token
    sealed = depot.sealer.seal(token, belongs_to=str(operation_id)) if token else None
    wanted = models.Create(selection, operation_id, depot.operation_deadline, sealed, act.request_id)
    row = await depot.creates.accept(act, wanted)
    await depot.wakeup.send()
    return row


async def delete_model(depot: Depot, act: Act, model_id: UUID) -> Row[Any]:
    """The operation that deletes a model."""
    try:
        row = await _request_delete(depot, act, model_id)
    except DatabaseUnreachable as error:
        if not depot.database.make_room(error):
            raise
        log.warning("the database's disk is full: its ballast was given up for a delete", model_id=model_id)
        row = await _request_delete(depot, act, model_id)
    await depot.wakeup.send()
    return row


async def _request_delete(depot: Depot, act: Act, model_id: UUID) -> Row[Any]:
    async with depot.database.begin() as connection:
        row = await models.request_delete(
            connection, model_id, deadline=depot.operation_deadline, request_id=act.request_id
        )
        await audit.accept(connection, act, row)
    return row


async def create_deployment(depot: Depot, act: Act, body: schemas.CreateDeployment) -> Row[Any]:
    """The ended operation of a new deployment."""
    act.resource_name = body.name
    await _check_folder(depot, body.model)
    async with depot.database.begin() as connection:
        row = await deployments.create(
            connection,
            model_id=body.model.id,
            model_name=body.model.name,
            name=body.name,
            gpu_type=body.gpu_type,
            gpu_count=body.gpu_count,
            replicas=body.replicas,
            deployment_url=body.deployment_url,
            inference_engine_version=body.inference_engine_version,
            inference_engine_parameters=body.inference_engine_parameters or [],
            request_id=act.request_id,
        )
        await audit.accept(connection, act, row)
    return row


async def _check_folder(depot: Depot, model: schemas.ModelReference) -> None:
    """Raise `NotReady` for a model that is ready by its row and has no folder that could be served."""
    async with depot.database.read() as connection:
        model_id = await deployments.ready_model(connection, model_id=model.id, model_name=model.name)
    if model_id is None:
        return
    try:
        lacking = await depot.volume.lacks(model_id)
    except VolumeAway as error:
        raise NotReady(f"Model {model_id} can't be deployed now. {error}", field="model") from None
    if lacking:
        message = f"Model {model_id} has no folder on the storage any more: run `modeldepot storage check`."
        raise NotReady(message, field="model")


async def update_deployment(depot: Depot, act: Act, deployment_id: UUID, body: schemas.UpdateDeployment) -> Row[Any]:
    """The ended operation of a change to a deployment: what is null is as if it were not there."""
    return await _change_deployment(depot, act, deployment_id, Command.UPDATE_DEPLOYMENT, body)


async def scale_deployment(depot: Depot, act: Act, deployment_id: UUID, body: schemas.ScaleDeployment) -> Row[Any]:
    """The ended operation of a deployment's other number of replicas."""
    return await _change_deployment(depot, act, deployment_id, Command.SCALE_DEPLOYMENT, body)


async def _change_deployment(
    depot: Depot, act: Act, deployment_id: UUID, command: Command, body: schemas.Body
) -> Row[Any]:
    values = body.model_dump(exclude_none=True)
    async with depot.database.begin() as connection:
        row = await deployments.change(connection, deployment_id, command, request_id=act.request_id, **values)
        await audit.accept(connection, act, row)
    return row


async def delete_deployment(depot: Depot, act: Act, deployment_id: UUID) -> Row[Any]:
    """The ended operation of a deployment's delete."""
    async with depot.database.begin() as connection:
        row = await deployments.remove(connection, deployment_id, request_id=act.request_id)
        await audit.accept(connection, act, row)
    return row


async def create_key(depot: Depot, act: Act, *, name: str, role: Role, expires: float | None) -> tuple[Row[Any], str]:
    """A new key, and its secret, which can't be shown again; `expires` in seconds from now."""
    async with depot.database.begin() as connection:
        key_id, secret = await keys.create(connection, depot.sealer, name=name, role=role, expires=expires)
        row = await keys.get(connection, key_id)
        await audit.accept_for_key(connection, act, key_id, name)
    return row, secret


async def revoke_key(depot: Depot, act: Act, key_id: str) -> None:
    """Shut a key out. Raises `NotFound`, or `Conflict` for the caller's own."""
    _check_not_own(act, key_id)
    async with depot.database.begin() as connection:
        name = await keys.revoke(connection, key_id)
        await audit.accept_for_key(connection, act, key_id, name)


async def delete_key(depot: Depot, act: Act, identifier: UUID) -> Row[Any]:
    """The same of a key by its UUID: the ended operation of it."""
    async with depot.database.read() as connection:
        key_id = (await keys.identified(connection, identifier)).id
    _check_not_own(act, key_id)
    async with depot.database.begin() as connection:
        name = await keys.revoke(connection, key_id)
        await audit.accept_for_key(connection, act, key_id, name)
        return await operations.record(connection, Command.DELETE_KEY, identifier, name, request_id=act.request_id)


def _check_not_own(act: Act, key_id: str) -> None:
    act.other_key_id = key_id
    if key_id == act.key_id:
        raise Conflict(
            "This is the key that you are signed in with: sign in with another to revoke it, or run "
            f"`modeldepot key revoke {key_id}`."
        )
