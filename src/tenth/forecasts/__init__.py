"""What people and machines foretell of the next gate: told by quantiles, sealed before it, scored after it."""
