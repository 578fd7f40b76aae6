"""What the meter says while bytes come, some of them twice."""

from worker.download.meter import Meter


def test_while_bytes_come_once_more_it_stands_still() -> None:
    meter = Meter()
    meter.add(100)
    meter.settle(30)
    values = []
    for _ in range(4):
        meter.add(20)
        values.append(meter.value)
    assert values == [100, 110, 130, 150]


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
