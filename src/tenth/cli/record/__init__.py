"""What a run leaves behind: the audit, witnesses, the ledger, curves."""
