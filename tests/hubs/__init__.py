"""The parts of the Hub on loopback; `tests.hub` is its face."""
