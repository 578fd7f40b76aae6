"""Shows how a model arrives: a bar on a terminal, elsewhere one line per change."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from app.client.depot import Json
from app.client.following import Display
from app.client.names import label
from app.domain.states import ModelStatus
from app.terminal import say, shown, size

_BAR = "{desc}  {percentage:3.0f}% |{bar}| {n_fmt}B/{total_fmt}B{postfix}"
_NO_BAR = "{desc}{postfix}"
_SAYS = {
    ModelStatus.CREATING: "waiting for a worker",
    ModelStatus.DOWNLOADING: "downloading",
    ModelStatus.READY: "ready",
    ModelStatus.ERROR: "error",
}


class Notes:
    """Shows only problems, one line each."""

    def __init__(self) -> None:
        self._noted = ""

    def show(self, model: Json) -> None:
        pass

    def note(self, text: str) -> None:
        if text != self._noted:
            self._noted = text
            tqdm.write(shown(text), file=sys.stderr)  # above the bar, where there is one


class Lines(Notes):
    """A line for each change of the status and each percent that arrived."""

    def __init__(self) -> None:
        super().__init__()
        self._shown = ""

    def show(self, model: Json) -> None:
        far = percent(model)
        share = "" if far is None else f"{far}% of {size(model['total'])}, "
        if (now := f"{model['status']} {model.get('paused')} {share}") != self._shown:
            self._shown, self._noted = now, ""
            say(f"{model['name']}: {share}{describe(model)}", err=True)


class Bar(Notes):
    """A progress bar: bytes, rate and time left, as the depot reports them."""

    def __init__(self, bar: "tqdm[None]") -> None:
        super().__init__()
        self._bar = bar
        self._model: Json | None = None

    def show(self, model: Json) -> None:
        if model != self._model:
            self._model, self._noted = model, ""
            self._bar.set_description_str(shown(model["name"]), refresh=False)
            self._bar.total, self._bar.n = model["total"], model["downloaded"] or 0
            self._bar.bar_format = _BAR if model["total"] else _NO_BAR
            self._bar.set_postfix_str(shown(describe(model)))


@contextmanager
def display() -> Iterator[Display]:
    """Yield the display that fits standard error."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield Lines()
        return
    with tqdm(file=sys.stderr, unit="B", unit_scale=True, dynamic_ncols=True, bar_format=_NO_BAR) as bar:
        yield Bar(bar)


def describe(model: Json) -> str:
    """Describe its state in a few words, and what ends a pause."""
    if model.get("deleting"):
        return "deleting"
    if model.get("paused"):
        return f"paused; to go on: modeldepot resume {label(model)}"
    says = _SAYS.get(model["status"], str(model["status"]))
    if model["status"] != ModelStatus.DOWNLOADING or not model["total"]:
        return says
    left = model["total"] - (model["downloaded"] or 0)
    if not left:
        return "verifying"
    return f"{size(model['rate'])}/s, {tqdm.format_interval(left / model['rate'])} left" if model["rate"] else says


def percent(model: Json) -> int | None:
    """Return the percentage that arrived, while downloading."""
    if model["status"] != ModelStatus.DOWNLOADING or not model["total"] or model.get("deleting"):
        return None
    return int(100 * (model["downloaded"] or 0) / model["total"])
