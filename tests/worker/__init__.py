"""The worker, with the processes it really is."""
