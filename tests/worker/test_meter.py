"""What the meter says while bytes come, some of them twice."""

from worker.meter import Meter


def test_bytes_of_one_way_of_fetching_count_in_the_meter_of_all() -> None:
    whole = Meter()
    part = Meter(whole)
    whole.add(100)
    part.add(20, fetched=True)
    assert (whole.value, part.value) == (120, 20)


def test_after_too_many_were_counted_it_stands_still_until_they_came_again() -> None:
    meter = Meter()
    meter.add(100)
    meter.settle(30)
    values = []
    for _ in range(4):
        meter.add(20)
        values.append(meter.value)
    assert values == [100, 110, 130, 150]


def test_too_few_are_made_good_at_once() -> None:
    meter = Meter()
    meter.add(100)
    meter.settle(-50)
    assert meter.value == 150


def test_the_rate_is_of_the_last_seconds_and_of_fetched_bytes_only() -> None:
    meter = Meter()
    meter.add(1_000_000)
    meter.sample(0.0)
    for second in range(1, 21):
        meter.add(100 if second > 10 else 1000, fetched=True)
        meter.sample(float(second))
    assert meter.rate == 100
    meter.add(-5000)
    meter.sample(21.0)
    assert 0 <= meter.rate <= 100
