"""What any front end reads from a depot, or changes in it."""
