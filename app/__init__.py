"""Model Depot: its rules, its rows and its HTTP."""
