"""The commands that run where a depot runs: its processes and its operator's."""
