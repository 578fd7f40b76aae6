"""The rows: where they are kept, their shape, and how their states change."""
