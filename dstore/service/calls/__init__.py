"""What components ask each other, one file for each side that answers; see `replication.peers`."""
