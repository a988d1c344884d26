"""What stands before a run: keys, a charter, what it means on this machine, who begins it."""
