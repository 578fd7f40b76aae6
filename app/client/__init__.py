"""A depot's client: what people's commands are made of. It knows the API from outside only."""
