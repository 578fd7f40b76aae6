"""The storage that models are kept in. Nothing else builds a path of it."""
