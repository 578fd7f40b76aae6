"""The storage of the models, on real folders."""
