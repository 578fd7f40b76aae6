"""The HTTP, asked over real sockets."""
