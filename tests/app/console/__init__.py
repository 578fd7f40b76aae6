"""The console, as a browser would ask for it."""
