"""Bytes in sentences."""

import pytest

from app.domain.sizes import compared, size


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999.5, "1.0 kB"),
        (1234, "1.2 kB"),
        (99_949, "99.9 kB"),
        (99_950, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (4_300_000_000, "4.3 GB"),
        (1 << 60, "1153 PB"),
    ],
)
def test_bytes_have_the_unit_that_leaves_few_digits(count: float, text: str) -> None:
    assert size(count) == text


def test_what_is_compared_never_looks_the_same_and_is_not() -> None:
    assert compared(1000, 2000) == ["1.0 kB", "2.0 kB"]
    assert compared(5000, 5000, 0) == ["5.0 kB", "5.0 kB", "0 B"]
    assert compared(500_000_000_001, 500_000_000_000) == ["500,000,000,001 B", "500,000,000,000 B"]
