"""The web console: what the API can do, for people. Pages are made here; browsers get no more script than they need."""
