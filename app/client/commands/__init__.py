"""What `modeldepot` can do from anywhere: the commands that speak to a depot over HTTP."""
