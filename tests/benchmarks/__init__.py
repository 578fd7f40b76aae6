"""Measurements, as ratios to a named baseline in the same run. None of them is a test."""
