"""Pictures of figures over time: what is where, and what is not drawn."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.console import charts

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
WIDTH = charts.WIDTH / (charts.DAY.seconds / charts.DAY.step)
"""Of one step."""


@dataclass
class Sample:
    at: datetime
    fetched: int = 0
    used: int | None = None
    free: int | None = None
    seconds: int = 60
    best_minute: int | None = None


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+),([\d.]+)", path)]


def test_the_best_minute_of_each_step_is_drawn_and_that_of_all_touches_the_top() -> None:
    rows = [Sample(ago(1), 300_000), Sample(ago(2), 1_200_000), Sample(ago(7), 600_000), Sample(ago(60 * 25), 10**12)]
    picture = charts.throughput(rows, NOW, charts.DAY)
    assert picture.top == "20.0 kB/s"  # 1.2 MB in a minute
    assert picture.label.endswith("2.1 MB in all, 20.0 kB/s in the best minute")
    assert picture.figures == (("Fetched", "2.1 MB"), ("Best minute", "20.0 kB/s"))
    assert "Drawn is the fastest minute of every 5 minutes" in picture.note
    drawn = points(picture.area)
    assert drawn[-3:] == [(round(960 - WIDTH, 1), 0.0), (960.0, 0.0), (960.0, 120.0)]
    assert (round(960 - WIDTH, 1), 60.0) in drawn  # half as much in the step before
    assert picture.end - picture.start == timedelta(days=1)


def test_a_month_is_drawn_by_the_best_minutes_of_its_hours_or_by_means_where_these_are_not_known() -> None:
    known = Sample(ago(60 * 48), 7_200_000, seconds=3600, best_minute=6_000_000)
    older = Sample(ago(60 * 72), 7_200_000, seconds=3600)
    assert charts.throughput([older], NOW, charts.MONTH).top == "2.0 kB/s"
    picture = charts.throughput([older, known, Sample(ago(1), 60_000)], NOW, charts.MONTH)
    assert picture.top == "100 kB/s"
    assert dict(picture.figures)["Fetched"] == "14.5 MB"


def test_nothing_fetched_is_a_flat_line() -> None:
    picture = charts.throughput([], NOW, charts.MONTH)
    assert {y for _, y in points(picture.area)} == {120.0}
    assert picture.top == "0 B/s"


def test_what_is_used_stands_below_what_there_is_with_gaps_where_nobody_recorded() -> None:
    rows = [Sample(ago(100), used=20, free=80), Sample(ago(99), used=30, free=70), Sample(ago(3), used=50, free=50)]
    picture = charts.disk(rows, NOW, charts.DAY)
    assert picture is not None
    assert picture.area.count("M") == picture.line.count("M") == 2
    assert {y for _, y in points(picture.line)} == {0.0}
    assert {60.0, 84.0} <= {y for _, y in points(picture.area)}
    assert picture.figures == [("Used", "50 B"), ("Free", "50 B"), ("Change", "+30 B")]


def test_a_bucket_has_no_line_of_what_there_is_and_without_records_there_is_no_picture() -> None:
    picture = charts.disk([Sample(ago(3), used=50), Sample(ago(2), used=40)], NOW, charts.DAY)
    assert picture is not None
    assert picture.line == ""
    assert picture.figures == [("Used", "40 B"), ("Change", "-10 B")]
    assert charts.disk([Sample(ago(3), fetched=7)], NOW, charts.DAY) is None
