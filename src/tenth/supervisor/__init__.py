"""Who holds the leash: one process that spawns, meters, freezes and kills the trainer, and writes the log."""
