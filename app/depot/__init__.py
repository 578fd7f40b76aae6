"""What any front end asks of a depot, or changes in it."""
