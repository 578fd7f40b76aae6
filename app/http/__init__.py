"""What HTTP front ends share: connections, limits, errors and authentication. Nothing here knows a route."""
