"""The parts of the process that carries out one download; what a bad network does to all of it is in `tests/faults`."""
