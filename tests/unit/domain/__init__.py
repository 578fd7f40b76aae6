"""The rules, which need nothing but themselves."""
