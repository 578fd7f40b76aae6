"""The database: connections, tables, and changes of state."""
