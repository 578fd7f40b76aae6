"""Keeps the storage and the rows consistent, automatically and by operators' commands."""
