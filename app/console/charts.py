"""Pictures of figures over time, as paths of SVG: how fast bytes arrived, and how full the storage was."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.console.words import size
from app.services.rows import SampleRecord
from app.services.samples import HOUR, MINUTE

WIDTH, HEIGHT = 960, 120


@dataclass(frozen=True, slots=True)
class Span:
    """How far back a picture goes, and how much time is one step of it; in seconds."""

    seconds: int
    step: int
    words: str
    step_words: str


DAY = Span(24 * HOUR, 5 * MINUTE, "the last 24 hours", "every 5 minutes")
MONTH = Span(30 * 24 * HOUR, HOUR, "the last 30 days", "every hour")


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture: `area` and `line` are paths; `top` is what its upper edge stands for; `label` says all of it."""

    area: str
    line: str
    top: str
    label: str
    start: datetime
    end: datetime
    figures: Sequence[tuple[str, str]]
    """What stands beside it: (title, figure)."""
    note: str = ""
    """What is drawn, where the title does not say it."""


def throughput(rows: Sequence[SampleRecord], now: datetime, span: Span) -> Chart:
    """Return the picture of bytes per second: for each step its best minute, since a mean would hide short downloads."""
    steps = span.seconds // span.step
    rates, total = [0.0] * steps, 0
    for row in rows:
        if (place := _place(row, now, span)) is not None:
            total += row.fetched
            rates[place] = max(rates[place], _best_rate(row))
    best = max(rates)
    figures = (("Fetched", size(total)), ("Best minute", f"{size(best)}/s"))
    label = f"Bytes fetched per second in {span.words}: {size(total)} in all, {size(best)}/s in the best minute"
    note = (
        f"Drawn is the fastest minute of {span.step_words}: downloads of less than a minute were faster than they look."
    )
    area = _area([list(enumerate(rates))], best, steps)
    return Chart(area, "", f"{size(best)}/s", label, now - timedelta(seconds=span.seconds), now, figures, note)


def disk(rows: Sequence[SampleRecord], now: datetime, span: Span) -> Chart | None:
    """Return the picture of what is used, below the line of what there is. None if nothing is known."""
    known = [row for row in rows if row.used is not None]
    if not known:
        return None
    steps = span.seconds // span.step
    used = {place: row.used or 0 for row in known if (place := _place(row, now, span)) is not None}
    whole = {
        place: row.used + row.free
        for row in known
        if row.used is not None and row.free is not None and (place := _place(row, now, span)) is not None
    }
    top = max([*used.values(), *whole.values()], default=0)
    first, last = known[0], known[-1]
    grown = (last.used or 0) - (first.used or 0)
    figures = [("Used", size(last.used)), ("Change", f"{'-' if grown < 0 else '+'}{size(abs(grown))}")]
    if last.free is not None:
        figures.insert(1, ("Free", size(last.free)))
    label = f"Storage in {span.words}: " + ", ".join(f"{name} {figure}" for name, figure in figures)
    line = "".join(f"M{_points(run, top, steps)}" for run in _runs(whole))
    start = now - timedelta(seconds=span.seconds)
    return Chart(_area(_runs(used), top, steps), line, size(top), label, start, now, figures)


def _best_rate(row: SampleRecord) -> float:
    """Return the bytes per second of a row's best minute; of its whole time, where that is not known."""
    return row.fetched / row.seconds if row.best_minute is None else row.best_minute / MINUTE


def _place(row: SampleRecord, now: datetime, span: Span) -> int | None:
    """Return the step that a row belongs to, from the left; None for one that is outside the picture."""
    ago = (now - row.at).total_seconds()
    place = span.seconds // span.step - 1 - int(ago // span.step)
    return place if ago >= 0 and place >= 0 else None


def _runs(values: dict[int, int]) -> Iterable[list[tuple[int, float]]]:
    """Return the points in rows without a gap: what nobody recorded is not drawn."""
    runs: list[list[tuple[int, float]]] = []
    for place in sorted(values):
        if not runs or place > runs[-1][-1][0] + 1:
            runs.append([])
        runs[-1].append((place, values[place]))
    return runs


def _area(runs: Iterable[list[tuple[int, float]]], top: float, steps: int) -> str:
    return "".join(
        f"M{_x(run[0][0], steps)},{HEIGHT}L{_points(run, top, steps)}L{_x(run[-1][0] + 1, steps)},{HEIGHT}Z"
        for run in runs
    )


def _points(run: Sequence[tuple[int, float]], top: float, steps: int) -> str:
    """Return the points of a run, each as a step as wide as the time that it is for."""
    points: list[str] = []
    for place, value in run:
        y = f"{HEIGHT * (1 - value / top):.1f}" if top else str(HEIGHT)
        points += (f"{_x(place, steps)},{y}", f"{_x(place + 1, steps)},{y}")
    return "L".join(points)


def _x(place: int, steps: int) -> str:
    return f"{place * WIDTH / steps:.1f}"
