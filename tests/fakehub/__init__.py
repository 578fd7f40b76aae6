"""A Hub on loopback that speaks the real protocol and misbehaves on demand: `python -m tests.fakehub FOLDER`."""
