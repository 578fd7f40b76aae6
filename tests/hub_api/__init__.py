"""The Hub's own protocol, asked over real sockets, by its real clients too."""
