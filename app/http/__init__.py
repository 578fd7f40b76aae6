"""What front ends over HTTP share: connections, limits, errors, and who may ask. Nothing here knows a route."""
