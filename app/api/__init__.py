"""The HTTP API: routes, the shapes on the wire, and errors."""
