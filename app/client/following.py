"""Follows a depot's work on a model until it is done, over lost connections and restarts."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from app.client.depot import Depot, Json
from app.client.exits import Failed, NoDepot, NotDone, NotThere
from app.domain.states import ModelStatus, OperationState

_SILENCE = 300.0
"""Seconds without any answer until we give up."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 10.0
"""Seconds between attempts to reach a depot; the pause doubles each time."""
_MUTE = 2
"""Streams in a row without data, as behind a buffering proxy, after which we poll instead."""
_POLL = 2.0
_OVER = {ModelStatus.READY, ModelStatus.ERROR}


class Display(Protocol):
    def show(self, model: Json) -> None:
        """Show the model's state."""

    def note(self, text: str) -> None:
        """Show what delays it at the moment."""


class _Late(BaseException):
    """Interrupts whatever the command waits for, as Ctrl-C does."""


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """Raise `NotDone` out of the block once so many seconds have passed; never for `None`. For the main thread only."""

    def interrupt(*_: object) -> None:
        raise _Late

    former = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds or 0)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _Late:
        raise NotDone(f"it is not done after {seconds:g} seconds; the depot goes on with it") from None
    finally:
        signal.signal(signal.SIGALRM, former)


def follow(depot: Depot, model_id: str, display: Display, operation_id: str | None = None) -> Json | None:
    """Show the model until its operation, or all work on it, has ended. Return its last state, `None` if gone.

    Raises `Failed` if the operation failed or, without one, if the model is in error; `NoDepot` after five minutes
    without an answer.
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
    """Return (whether the stream sent anything, whether it was complete). If not, the caller polls."""
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
    """Poll; return whether it is over."""
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
    """Raise `Failed` if it failed or timed out."""
    if operation["state"] in {OperationState.FAILURE, OperationState.TIMEOUT}:
        raise Failed(operation.get("reason"), operation.get("message"), state=operation["state"])


def _model(depot: Depot, model_id: str) -> Json | None:
    try:
        return depot.model(model_id)
    except NotThere:
        return None
