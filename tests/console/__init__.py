"""The console, as its users see it."""
