"""The clients that people have already, against a depot of real processes."""
