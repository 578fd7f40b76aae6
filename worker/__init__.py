"""The hands: what fetches models from the Hub and keeps them on the storage."""
