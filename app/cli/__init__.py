"""What `modeldepot` can do where a depot runs: its mains and its operator's commands."""
