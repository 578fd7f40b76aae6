"""The storage of the models. Only this package builds paths in it."""
