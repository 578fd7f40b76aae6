"""The rules, free of any library: what states there are, what may be asked, what can go wrong."""
