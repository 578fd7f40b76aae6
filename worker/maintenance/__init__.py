"""What keeps the storage and the rows true to each other, by itself and at an operator's command."""
