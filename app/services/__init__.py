"""What can be done to models, deployments and operations: functions over an open connection.

None of them commits, and none touches the network or a disk.
"""
