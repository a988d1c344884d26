"""What people decide on and with: dossiers, statements, leases, adjustments, sealed folders, and the history they make."""
