"""Following what a depot does with a model, over lost connections and restarts, until it is done."""

import time
from typing import Protocol

from app.client.depot import Depot, Json
from app.client.exits import Failed, NoDepot, NotThere
from app.domain.states import ModelStatus, OperationState

_SILENCE = 300.0
"""Seconds without any answer after which we give up."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 10.0
"""Seconds between tries to reach a depot that is away; the pause doubles each time."""
_MUTE = 2
"""Streams in a row that may tell nothing, as behind a proxy that keeps what it gets: from then on we ask."""
_POLL = 2.0
_OVER = {ModelStatus.READY, ModelStatus.ERROR}


class Display(Protocol):
    def show(self, model: Json) -> None:
        """How the model is now."""

    def note(self, text: str) -> None:
        """Why it doesn't go on at the moment."""


def follow(depot: Depot, model_id: str, display: Display, operation_id: str | None = None) -> Json | None:
    """Show the model until the operation ended, or nothing works on it; then the model as it was left, `None` if gone.

    Raises `Failed` when the operation did or, without one, when the model is in error; `NoDepot` when there was no
    answer for five minutes.
    """
    heard, pause, mute = time.monotonic(), _FIRST_PAUSE, 0
    while True:
        try:
            told, over = _watch(depot, model_id, display) if mute < _MUTE else (False, False)
            if over or _look(depot, model_id, display, operation_id, last_word=mute >= _MUTE):
                return _left(depot, model_id, operation_id)
            heard, pause = time.monotonic(), _FIRST_PAUSE
            mute = 0 if told else mute + 1
            if mute >= _MUTE:
                time.sleep(_POLL)
        except NoDepot as error:
            if time.monotonic() - heard > _SILENCE:
                raise
            display.note(f"{error.message} (trying again)")
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


def _watch(depot: Depot, model_id: str, display: Display) -> tuple[bool, bool]:
    """Whether the stream told anything, and whether it came to its end. If not, a look tells whether that is serious."""
    told = False
    try:
        for model in depot.watch_model(model_id):
            told = True
            display.show(model)
    except NoDepot:
        return told, False
    except NotThere:
        pass
    return True, True


def _look(depot: Depot, model_id: str, display: Display, operation_id: str | None, *, last_word: bool) -> bool:
    """Whether it is over."""
    model = _model(depot, model_id)
    if model is None:
        return True
    display.show(model)
    if operation_id is None:
        return last_word and model["status"] in _OVER and not model.get("deleting")
    operation = depot.operation(operation_id)
    if "message" in operation:
        display.note(operation["message"])
    return bool(operation["state"] != OperationState.PENDING)


def _left(depot: Depot, model_id: str, operation_id: str | None) -> Json | None:
    if operation_id is not None:
        check(depot.operation(operation_id))
    model = _model(depot, model_id)
    if operation_id is None and model and model["status"] == ModelStatus.ERROR:
        raise Failed(model["reason"], model["message"])
    return model


def check(operation: Json) -> None:
    """Raises `Failed` if it did."""
    if operation["state"] in {OperationState.FAILURE, OperationState.TIMEOUT}:
        raise Failed(operation.get("reason"), operation.get("message"), state=operation["state"])


def _model(depot: Depot, model_id: str) -> Json | None:
    try:
        return depot.model(model_id)
    except NotThere:
        return None
