"""The process that fetches one model: the only one that speaks to the Hub. It knows no database."""
