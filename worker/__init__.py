"""The worker: fetches models from the Hub and keeps them on the storage."""
