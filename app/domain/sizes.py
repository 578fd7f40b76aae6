"""Formats bytes for sentences."""

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def size(count: float) -> str:
    """Format bytes, in powers of ten as disks and networks are sold: `1.2 GB`."""
    value = float(count)
    for unit in _UNITS:
        # What rounds to 1000 belongs to the next unit.
        if value < 999.5 or unit == _UNITS[-1]:
            break
        value /= 1000
    return f"{value:.1f} {unit}" if value < 99.95 and unit != "B" else f"{value:.0f} {unit}"


def compared(*counts: int) -> list[str]:
    """Format bytes that a sentence compares: exactly, if different ones would look the same."""
    sizes = [size(count) for count in counts]
    if len(set(sizes)) == len(set(counts)):
        return sizes
    return [f"{count:,} B" for count in counts]
