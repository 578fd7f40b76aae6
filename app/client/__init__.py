"""A depot's client, on which the users' commands are built. It uses only the HTTP API."""
