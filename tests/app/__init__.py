"""Tests of the product: rules, rows, HTTP and the command."""
