"""What transactions do, on both databases."""
