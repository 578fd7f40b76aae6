"""The process that fetches one model: the only one that connects to the Hub. It has no access to the database."""
