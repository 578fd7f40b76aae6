"""Domain rules without dependencies on libraries: states, commands, validation and errors."""
