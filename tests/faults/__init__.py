"""What goes wrong on the network, on the disk and with processes."""
