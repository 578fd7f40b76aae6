"""The commands of operations."""

from collections.abc import Mapping
from enum import StrEnum


class Command(StrEnum):
    """An operation's command. Workers carry out the first two; the others end with the request that makes them."""

    CREATE_MODEL = "create-model"
    DELETE_MODEL = "delete-model"
    CREATE_DEPLOYMENT = "create-deployment"
    DELETE_DEPLOYMENT = "delete-deployment"
    UPDATE_DEPLOYMENT = "update-deployment"
    SCALE_DEPLOYMENT = "scale-deployment"
    DELETE_KEY = "delete-ai-api-key"


ON_MODELS = (Command.CREATE_MODEL, Command.DELETE_MODEL)
"""The commands whose resource is a model."""


RESOURCE: Mapping[Command, tuple[str, str]] = {
    Command.CREATE_MODEL: ("get-model", "/v2/ai/model/"),
    Command.DELETE_MODEL: ("get-model", "/v2/ai/model/"),
    Command.CREATE_DEPLOYMENT: ("get-deployment", "/v2/ai/deployment/"),
    Command.DELETE_DEPLOYMENT: ("get-deployment", "/v2/ai/deployment/"),
    Command.UPDATE_DEPLOYMENT: ("get-deployment", "/v2/ai/deployment/"),
    Command.SCALE_DEPLOYMENT: ("get-deployment", "/v2/ai/deployment/"),
    Command.DELETE_KEY: ("get-ai-api-key", "/v2/ai/api-key/"),
}
"""For each command, the API operation that gets its resource, and the path without the id."""
