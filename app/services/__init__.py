"""Functions on models, deployments and operations, called with an open connection.

None of them commits, and none uses the network or a disk.
"""
