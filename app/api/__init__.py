"""The HTTP: routes, the shapes on the wire, and what goes wrong in HTTP's words."""
