"""The commands that workers carry out: one module per command."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from app.domain.commands import Command
from worker.commands import create_model, delete_model
from worker.commands.work import Work

COMMANDS: Mapping[Command, Callable[[Work], Coroutine[Any, Any, None]]] = {
    Command.CREATE_MODEL: create_model.run,
    Command.DELETE_MODEL: delete_model.run,
}
"""Each runs an operation and ends it in success, or raises `Failed`, `TryAgain` or `LeaseLost`."""
