"""Rules, rows and small parts of the product, without a running depot."""
