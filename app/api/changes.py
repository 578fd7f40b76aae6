"""Changes that a caller may make, by API or console: each with its audit and, if workers must act, a wake-up."""

from uuid import UUID

import structlog

from app.api import bodies
from app.api.dependencies import Depot
from app.api.limits import check_name
from app.db.errors import DatabaseUnreachable
from app.depot.volume import VolumeAway
from app.domain import pasted
from app.domain.commands import Command
from app.domain.errors import BadRequest, Conflict, NotReady
from app.domain.keys import NameLimit, Role, split_token
from app.domain.repositories import Selection, select
from app.http.keyring import Key
from app.services import audit, deployments, keys, models, operations, queue, updates
from app.services.access_rows import KeyRecord
from app.services.audit import Act
from app.services.rows import AcceptedOperation

log = structlog.get_logger()


async def create_model(depot: Depot, key: Key, act: Act, body: bodies.CreateModel) -> AcceptedOperation:
    """Accept a model; return the operation that fetches it, or that retries it if it is in `error`."""
    selection = selected(body, depot.hub)
    act.resource_name = selection.name
    check_name(key, selection.name)
    await check_hub_token(depot, body.huggingface_token)
    return await depot.fetching.begin(act, await settled(depot, selection), body.huggingface_token)


async def check_hub_token(depot: Depot, token: str | None) -> None:
    """Raise `BadRequest` for a key of this depot, which clients of it have in HF_TOKEN: the Hub must not learn it."""
    key = split_token(token or "")
    if key and await depot.authenticator.find(key[0]):
        message = "This token is a key of this depot, not of the Hub: leave it out, or send a token of the Hub's."
        raise BadRequest(message, field="huggingface-token")


def selected(body: bodies.CreateModel, hub: str) -> Selection:
    """Return what a create asks for. `hub` is the address of the depot's Hub.

    Raises `BadRequest`, which says what to send for a pasted address.
    """
    revision = "main" if body.revision is None else body.revision
    try:
        return select(body.name, revision, body.include or (), body.exclude or ())
    except BadRequest as error:
        if error.field == "name" and (fields := pasted.in_fields(body.name, hub)):
            raise BadRequest(f"{error.message} Send {fields}.", field="name") from None
        raise


async def settled(depot: Depot, selection: Selection) -> Selection:
    """Return the selection of the model that stands for this one; itself, if there is none.

    That is the update that follows the branch, where what it updated is gone; or the same without the card that goes with a
    quantization: what was added without it, by an older version or by patterns, is not fetched again for it.
    """
    candidates = list(dict.fromkeys((selection, selection.without_card)))
    async with depot.database.read() as connection:
        for one in candidates:
            update = await updates.following(connection, one)
            if (update or len(candidates) > 1) and await models.of_selection(connection, one.fingerprint):
                return one
            if update:
                return select(update.name, update.revision, update.include, update.exclude, follows=update.follows)
    return selection


async def update_model(depot: Depot, act: Act, model_id: UUID, body: bodies.UpdateModel) -> None:
    """Pause, resume or prioritise a model. A null field counts as absent."""
    async with depot.database.begin() as connection:
        name = await queue.lock(connection, model_id)
        if body.priority is not None:
            await queue.prioritise(connection, model_id, body.priority)
        if body.paused is True:
            await queue.pause(connection, model_id)
        if body.paused is False:
            await queue.resume(connection, model_id, deadline=depot.operation_deadline)
        await audit.accept_named(connection, act, name)
    await depot.wakeup.send()


async def delete_model(depot: Depot, act: Act, model_id: UUID) -> AcceptedOperation:
    """Accept a delete; return the operation that deletes the model."""
    try:
        row = await _request_delete(depot, act, model_id)
    except DatabaseUnreachable as error:
        if not depot.database.make_room(error):
            raise
        log.warning("the database's disk is full: its ballast was given up for a delete", model_id=model_id)
        row = await _request_delete(depot, act, model_id)
    await depot.wakeup.send()
    return row


async def _request_delete(depot: Depot, act: Act, model_id: UUID) -> AcceptedOperation:
    async with depot.database.begin() as connection:
        row = await models.request_delete(
            connection, model_id, deadline=depot.operation_deadline, request_id=act.request_id
        )
        await audit.accept(connection, act, row)
    return row


async def create_deployment(depot: Depot, key: Key, act: Act, body: bodies.CreateDeployment) -> AcceptedOperation:
    """Create a deployment; return the ended operation."""
    act.resource_name = body.name
    await _check_folder(depot, key, body.model)
    async with depot.database.begin() as connection:
        if body.key is not None:
            await keys.check_usable(connection, body.key)
        row = await deployments.create(
            connection,
            model_id=body.model.id,
            model_name=body.model.name,
            name=body.name,
            limit=key.limit,
            key_id=body.key,
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


async def _check_folder(depot: Depot, key: Key, model: bodies.ModelReference) -> None:
    """Raise `NotReady` for a model that is ready by its row but has no usable folder on the storage."""
    async with depot.database.read() as connection:
        model_id = await deployments.ready_model(connection, model_id=model.id, model_name=model.name, limit=key.limit)
    if model_id is None:
        return
    try:
        lacking = await depot.volume.lacks(model_id)
    except VolumeAway as error:
        raise NotReady(f"Model {model_id} can't be deployed now. {error}", field="model") from None
    if lacking:
        message = f"Model {model_id} has no folder on the storage any more: run `modeldepot storage check`."
        raise NotReady(message, field="model")


async def update_deployment(
    depot: Depot, key: Key, act: Act, deployment_id: UUID, body: bodies.UpdateDeployment
) -> AcceptedOperation:
    """Change a deployment; return the ended operation. A null field counts as absent."""
    return await _change_deployment(depot, key, act, deployment_id, Command.UPDATE_DEPLOYMENT, body)


async def scale_deployment(
    depot: Depot, key: Key, act: Act, deployment_id: UUID, body: bodies.ScaleDeployment
) -> AcceptedOperation:
    """Set a deployment's number of replicas; return the ended operation."""
    return await _change_deployment(depot, key, act, deployment_id, Command.SCALE_DEPLOYMENT, body)


async def _change_deployment(
    depot: Depot, key: Key, act: Act, deployment_id: UUID, command: Command, body: bodies.Body
) -> AcceptedOperation:
    values = body.model_dump(exclude_none=True)
    async with depot.database.begin() as connection:
        row = await deployments.change(
            connection, deployment_id, command, limit=key.limit, request_id=act.request_id, **values
        )
        await audit.accept(connection, act, row)
    return row


async def delete_deployment(depot: Depot, act: Act, deployment_id: UUID) -> AcceptedOperation:
    """Delete a deployment; return the ended operation."""
    async with depot.database.begin() as connection:
        row = await deployments.remove(connection, deployment_id, request_id=act.request_id)
        await audit.accept(connection, act, row)
    return row


async def create_key(
    depot: Depot,
    act: Act,
    *,
    name: str,
    role: Role,
    expires: float | None,
    limit: NameLimit,
    auto_deployment: bool,
) -> tuple[KeyRecord, str]:
    """Create a key, as `keys.create` does; return it and its secret, which can't be shown again."""
    async with depot.database.begin() as connection:
        key_id, secret = await keys.create(
            connection,
            depot.sealer,
            name=name,
            role=role,
            expires=expires,
            limit=limit,
            auto_deployment=auto_deployment,
        )
        row = await keys.get(connection, key_id)
        await audit.accept_for_key(connection, act, key_id, name)
    return row, secret


async def revoke_key(depot: Depot, act: Act, key_id: str) -> None:
    """Revoke a key. Raises `NotFound`, or `Conflict` for the caller's own."""
    _check_not_own(act, key_id)
    async with depot.database.begin() as connection:
        name = await keys.revoke(connection, key_id)
        await audit.accept_for_key(connection, act, key_id, name)


async def delete_key(depot: Depot, act: Act, identifier: UUID) -> AcceptedOperation:
    """Revoke a key by its UUID, as `revoke_key` does; return the ended operation."""
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
