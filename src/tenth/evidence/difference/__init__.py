"""What changed between two checkpoints, and which documents changed it."""
