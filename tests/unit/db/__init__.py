"""The rows and the migrations that make them."""
