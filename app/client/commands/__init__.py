"""The commands that run anywhere: they use a depot over HTTP."""
