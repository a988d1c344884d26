"""What people decide on and with: statements, leases, adjustments, sealed folders, and the history they make."""
